"""Networks that read pictures: they judge generated faces and lend their features to the VAE's perceptual loss."""

from codiff.recognition.attribute_classifier import AttributeClassifier
from codiff.recognition.face_parser import FaceParser
from codiff.recognition.vgg import VGG16

__all__ = ["VGG16", "AttributeClassifier", "FaceParser"]
