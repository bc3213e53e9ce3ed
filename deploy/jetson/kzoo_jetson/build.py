"""ONNX to a TensorRT engine, by one function on TensorRT 8.2 to 11.

What differs between the versions:

- Precision. Up to 9 it is a builder's flag. From 10 on a network can be strongly typed, that is, keep the types that
  its ONNX file has; from 11 on it always is, and the flags are gone.
- The workspace is a memory pool since 8.4, and was an attribute before.
- A network with an explicit batch is asked for by a flag up to 9, which 11 does not know.
"""

from typing import Any, List, NamedTuple, Optional, Tuple

from .errors import BuildError, SoftwareError
from .sidecar import Sidecar

OLDEST = (8, 2)


class Options(NamedTuple):
    """What a user decides about an engine."""

    precision: str
    batch: int = 1  # pictures at most, for a network that leaves their number open
    workspace_mib: int = 1024
    dla_core: Optional[int] = None


def import_tensorrt() -> Any:
    """The board's TensorRT.

    Raises:
        SoftwareError: Python finds none, or one that is too old.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise SoftwareError(
            f"Python finds no TensorRT ({error}). JetPack brings it for the system's python3: use that, "
            "and install.sh says what is missing."
        ) from None
    if version(tensorrt) < OLDEST:
        raise SoftwareError(
            f"TensorRT {tensorrt.__version__} is too old, expected 8.2 or newer: JetPack 4.6.1 brings it."
        )
    return tensorrt


def version(trt: Any) -> Tuple[int, int]:
    """Major and minor version of a TensorRT module."""
    major, minor = trt.__version__.split(".")[:2]
    return int(major), int(minor)


def typing_flags(major: int, in_file: str, options: Options) -> List[str]:
    """The names of the flags that bring a network to its precision.

    Args:
        major: TensorRT's major version.
        in_file: the precision that the ONNX file is written in.
        options: `precision` is the one wanted.

    Raises:
        BuildError: this TensorRT cannot make the one of the other.
    """
    wanted = options.precision
    if wanted != in_file and not (in_file == "fp32" and wanted == "fp16"):
        raise BuildError(
            f"The network's file is {in_file}, and no {wanted} engine can be made of it: "
            f"run `kzoo export --format onnx --precision {wanted}`."
        )
    if major >= 11:
        if wanted != in_file:
            raise BuildError(
                f"TensorRT {major} takes the precision from the network's file, which is {in_file}: "
                f"run `kzoo export --format onnx --precision {wanted}`."
            )
        return []
    # TensorRT 10 gives no layer of a strongly typed network to the DLA.
    if major == 10 and in_file != "fp32" and options.dla_core is None:
        return ["STRONGLY_TYPED"]
    # int8 stands in the file for some layers; the flag FP16 lets the others be faster than fp32, too.
    return {"fp32": [], "fp16": ["FP16"], "int8": ["FP16", "INT8"]}[wanted]


def build_engine(
    trt: Any, sidecar: Sidecar, options: Options, timing_cache: bytes = b"", verbose: bool = False
) -> Tuple[bytes, bytes]:
    """Builds an engine on this machine's GPU.

    Args:
        trt: the TensorRT module.
        sidecar: of the ONNX file, which is read.
        options: see `Options`.
        timing_cache: what an earlier build on the same GPU with the same TensorRT returned; makes this one faster.
        verbose: whether TensorRT prints all that it does.

    Returns:
        The engine and the timing cache.

    Raises:
        BuildError: the GPU, this TensorRT or the network cannot do what is asked for; nothing was built.
    """
    flags = typing_flags(version(trt)[0], sidecar.precision, options)
    logger = trt.Logger(trt.Logger.VERBOSE if verbose else trt.Logger.WARNING)
    builder = trt.Builder(logger)
    _refuse_impossible(trt, builder, sidecar, options)

    network = builder.create_network(_network_flags(trt, flags))
    parser = _parse(trt, network, logger, sidecar)
    config = builder.create_builder_config()
    for name in flags:
        if name != "STRONGLY_TYPED":
            config.set_flag(getattr(trt.BuilderFlag, name))
    workspace = options.workspace_mib << 20
    if hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    else:
        config.max_workspace_size = workspace
    if sidecar.dynamic:
        profile = builder.create_optimization_profile()
        smallest, largest = ((batch, *sidecar.input.shape[1:]) for batch in (1, options.batch))
        profile.set_shape(sidecar.input.name, smallest, largest, largest)
        config.add_optimization_profile(profile)
    if options.dla_core is not None:
        _prefer_dla(trt, config, network, options.dla_core)
    for serialized in (timing_cache, b""):  # one of another GPU or TensorRT is not taken: then start an empty one
        cache = config.create_timing_cache(serialized)
        if cache is not None and config.set_timing_cache(cache, False):
            break

    plan = builder.build_serialized_network(network, config)
    del parser  # until here: the network's weights are the parser's memory
    if plan is None:
        raise BuildError(
            f"TensorRT could not build {sidecar.onnx}; its messages stand above. If they speak of memory, close other "
            "programs or lower --workspace."
        )
    return bytes(plan), bytes(config.get_timing_cache().serialize())


def _refuse_impossible(trt: Any, builder: Any, sidecar: Sidecar, options: Options) -> None:
    fast_int8 = not hasattr(builder, "platform_has_fast_int8") or builder.platform_has_fast_int8
    if options.precision == "int8" and not fast_int8:
        raise BuildError("This GPU does not compute in int8 (a Jetson Nano or TX2 does not): take fp16.")
    types = {sidecar.input.type, sidecar.output.type}
    if "uint8" in types and not hasattr(trt.DataType, "UINT8"):
        raise BuildError(
            f"The network takes or gives uint8, which TensorRT {trt.__version__} cannot (8.5 can): "
            "export it with float32 input, and int32 class maps."
        )
    if not sidecar.dynamic and options.batch not in (1, sidecar.input.shape[0]):
        raise BuildError(
            f"The network takes {sidecar.input.shape[0]} picture(s) at a time, not {options.batch}: "
            "export it with --dynamic."
        )
    if options.dla_core is None:
        return
    if options.precision == "fp32":
        raise BuildError("The DLA computes in fp16 and int8 only: take --precision fp16.")
    if sidecar.dynamic:
        raise BuildError("The DLA takes networks of fixed shapes only: export without --dynamic.")
    if options.dla_core >= builder.num_DLA_cores:
        raise BuildError(
            f"There is no DLA core {options.dla_core}: with this TensorRT, the board has {builder.num_DLA_cores}."
        )


def _network_flags(trt: Any, flags: List[str]) -> int:
    known = trt.NetworkDefinitionCreationFlag
    if version(trt)[0] < 10:
        return 1 << int(known.EXPLICIT_BATCH)
    return 1 << int(known.STRONGLY_TYPED) if "STRONGLY_TYPED" in flags else 0


def _parse(trt: Any, network: Any, logger: Any, sidecar: Sidecar) -> Any:
    """Reads the ONNX file into `network`, and compares what it takes and gives with the sidecar; returns the parser."""
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(sidecar.onnx)):
        error = parser.get_error(0)
        node = f" '{error.node_operator()}'" if hasattr(error, "node_operator") else ""
        raise BuildError(
            f"TensorRT {trt.__version__} does not understand {sidecar.onnx}: node {error.node()}{node}: {error.desc()}"
        )
    if (network.num_inputs, network.num_outputs) != (1, 1):
        raise BuildError(
            f"{sidecar.onnx} has {network.num_inputs} inputs and {network.num_outputs} outputs, expected one of each."
        )
    for tensor, said in ((network.get_input(0), sidecar.input), (network.get_output(0), sidecar.output)):
        found = tensor.name, tuple(tensor.shape)
        if found != (said.name, said.shape):
            raise BuildError("{} has {} {}, its sidecar says {} {}.".format(sidecar.onnx, *found + said[:2]))
    return parser


def _prefer_dla(trt: Any, config: Any, network: Any, core: int) -> None:
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    on_dla = sum(bool(config.can_run_on_DLA(layer)) for layer in layers)
    if not on_dla:
        raise BuildError(f"The DLA can run none of the network's {len(layers)} layers: build without --dla.")
    print(f"The DLA takes {on_dla} of {len(layers)} layers, the GPU the others.")
