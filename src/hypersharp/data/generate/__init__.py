"""Generated training scenes: drawn by procedure, or lifted from photographs that installed packages carry."""

from hypersharp.data.generate.make import GenerateConfig, generate, iterate
from hypersharp.data.generate.photographs import Photograph, list_photographs

__all__ = ["GenerateConfig", "Photograph", "generate", "iterate", "list_photographs"]
