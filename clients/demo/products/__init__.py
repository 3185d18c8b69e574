"""The products of the rendered factory, by name."""

from clients.demo.products.board import BOARD
from clients.demo.products.bottle import BOTTLE
from clients.demo.products.bracket import BRACKET
from clients.demo.products.fabric import FABRIC
from clients.demo.products.product import Product
from clients.demo.products.sheet import SHEET

CATALOGUE: dict[str, Product] = {product.name: product for product in (BRACKET, BOARD, FABRIC, SHEET, BOTTLE)}

__all__ = ["CATALOGUE", "Product"]
