"""Networks that read pictures: they judge generated faces and lend their features to the VAE's perceptual loss."""

from codiff.recognition.attribute_classifier import AttributeClassifier
from codiff.recognition.bisenet import BiSeNet
from codiff.recognition.face_embedder import FaceEmbedder
from codiff.recognition.face_parser import FaceParser
from codiff.recognition.inception import InceptionV3
from codiff.recognition.vgg import VGG16

__all__ = ["VGG16", "AttributeClassifier", "BiSeNet", "FaceEmbedder", "FaceParser", "InceptionV3"]
