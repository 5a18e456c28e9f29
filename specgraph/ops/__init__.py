"""The ops, one file each.

To add one, add a file here with a frozen dataclass (``eq=False``) that subclasses ``Op``: ``infer`` (its shape rule),
``numpy`` (its definition), ``torch``, ``onnx``, ``cost``, ``reach`` where it touches time, ``ragged`` where it reads beyond a
clip's end, ``carry`` where an error of an operand neither adds up with weights that are operands nor moves the result one way,
and ``examples``. Nothing else has to change: the tests, the Builder, the lowering, the exporter and the files' metadata find it
through ``Op.registry``.
An op made of other ops subclasses ``Compound`` and registers lowerings instead of ``torch`` and ``onnx``.
torch is imported inside methods: listing transforms must not wait for it.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
