"""Our engine against LiteRT, ONNX Runtime and tract: the same integer networks, in the same run.

One thread. Blocks of about 2 ms, the engines in turn, so that what disturbs the machine disturbs all
of them; the best block of each counts. Calls from Python cost something: `call` is what a network of
one 8 by 8 layer takes, and is shown beside, not taken off.

peers.py MODEL.tflite OURS TRACT WORK_DIR
"""

import copy
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import onnxruntime
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

ROUNDS = 150
BLOCK_S = 0.002
BATCHES = (1, 32)


# ---- networks: made from one full-INT8 model -----------------------------------------------------


def read(path):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(Path(path).read_bytes()), 0))


def write(model, path):
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def layers(model):
    """The fully connected layers in order: weights [out, in] and bias, as arrays and tensors."""
    graph = model.subgraphs[0]
    for op in graph.operators:
        weights, bias = (graph.tensors[i] for i in op.inputs[1:3])
        w = np.frombuffer(bytes(model.buffers[weights.buffer].data), np.int8)
        b = np.frombuffer(bytes(model.buffers[bias.buffer].data), np.int32)
        yield op, weights, w.reshape(weights.shape), bias, b


def put(model, tensor, values):
    tensor.shape = list(values.shape)
    model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)


def without_units(model, share):
    """Leaves out the hidden units with the smallest weights before and behind; the code stays."""
    model = copy.deepcopy(model)
    found = list(layers(model))
    graph = model.subgraphs[0]
    keep = np.arange(found[0][2].shape[1])
    for i, (op, wt, w, bt, b) in enumerate(found):
        w = w[:, keep]
        keep = np.arange(w.shape[0])
        if i + 1 < len(found) and len(keep) > 8:
            behind = found[i + 1][2].astype(float)
            size = np.abs(w.astype(float)).sum(1) * np.abs(behind).sum(0)
            keep = np.sort(np.argsort(-size)[: round(len(keep) * (1 - share))])
        put(model, wt, w[keep])
        put(model, bt, b[keep])
        graph.tensors[op.outputs[0]].shape = [1, len(keep)]
    return model


def without_blocks(model, share):
    """Empties the 8 by 4 blocks with the smallest weights of every layer."""
    model = copy.deepcopy(model)
    for _, wt, w, _, _ in layers(model):
        w = w.copy()
        blocks = w.reshape(w.shape[0] // 8, 8, w.shape[1] // 4, 4)
        size = np.abs(blocks.astype(float)).sum((1, 3))
        out = np.argsort(size.ravel())[: round(size.size * share)]
        for o, i in zip(*np.unravel_index(out, size.shape)):
            blocks[o, :, i, :] = 0
        put(model, wt, w)
    return model


def of_seven_bits(model):
    """Codes of half the size: not the same network, but as fast as one that was trained so."""
    model = copy.deepcopy(model)
    for _, wt, w, _, _ in layers(model):
        put(model, wt, np.round(w / 2).astype(np.int8))
    return model


def tiny(model):
    """One 8 by 8 layer."""
    model = without_units(model, 0)
    graph = model.subgraphs[0]
    op, wt, w, bt, b = next(layers(model))
    graph.operators = [op]
    graph.outputs = [op.outputs[0]]
    put(model, wt, w[:8, :8].copy())
    put(model, bt, b[:8].copy())
    graph.tensors[op.inputs[0]].shape = [1, 8]
    graph.tensors[op.outputs[0]].shape = [1, 8]
    return model


def to_onnx(model, path):
    """The same integers between QuantizeLinear and DequantizeLinear; activations 128 higher, as bytes
    without a sign are what ONNX Runtime is fast with."""
    graph = model.subgraphs[0]
    nodes, constants = [], []

    def constant(name, values):
        constants.append(numpy_helper.from_array(values, name))
        return name

    def quant(i):
        q = graph.tensors[i].quantization
        return np.float32(q.scale[0]), int(q.zeroPoint[0])

    def node(op, inputs, output, **kw):
        nodes.append(helper.make_node(op, inputs, [output], **kw))
        return output

    def scale_zero(tag, i):
        scale, zero = quant(i)
        return [constant(f"{tag}_s", np.array(scale)), constant(f"{tag}_z", np.array(zero + 128, np.uint8))]

    x, n_in = "x", None
    for k, (op, wt, w, _, b) in enumerate(layers(model)):
        n_in = n_in or w.shape[1]
        from_scale, to = quant(op.inputs[0])[0], op.outputs[0]
        real = node("DequantizeLinear", [x, *scale_zero(f"a{k}", op.inputs[0])], f"r{k}")
        w_scale = np.float32(wt.quantization.scale[0])
        w_real = node(
            "DequantizeLinear",
            [constant(f"w{k}", w.T.copy()), constant(f"ws{k}", np.array(w_scale)),
             constant(f"wz{k}", np.array(0, np.int8))], f"wr{k}")
        b_real = node(
            "DequantizeLinear",
            [constant(f"b{k}", b.copy()), constant(f"bs{k}", np.array(from_scale * w_scale, np.float32)),
             constant(f"bz{k}", np.array(0, np.int32))], f"br{k}")
        y = node("Gemm", [real, w_real, b_real], f"y{k}")
        relu = op.builtinOptions.fusedActivationFunction == schema.ActivationFunctionType.RELU
        if relu and quant(to)[1] != -128:  # else the codes end at 0 by themselves
            y = node("Relu", [y], f"z{k}")
        x = node("QuantizeLinear", [y, *scale_zero(f"o{k}", to)], f"q{k}")
    value = lambda name, n: helper.make_tensor_value_info(name, TensorProto.UINT8, ["n", n])
    n_out = w.shape[0]
    made = helper.make_graph(nodes, "peer", [value("x", n_in)], [value(x, n_out)], constants)
    made = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, path)
    return path


# ---- engines: each gives a function that runs one block and returns seconds per window ------------


def timed(call, batch):
    n = 1
    while True:
        start = time.perf_counter()
        for _ in itertools.repeat(None, n):
            call()
        took = time.perf_counter() - start
        if took > BLOCK_S / 2:
            break
        n *= 2
    n = max(1, round(n * BLOCK_S / took))

    def block():
        start = time.perf_counter()
        for _ in itertools.repeat(None, n):
            call()
        return (time.perf_counter() - start) / n / batch

    return block


def codes(batch, n_in):
    return ((np.arange(batch * n_in) * 37) % 256 - 128).astype(np.int8).reshape(batch, n_in)


def litert(path, batch):
    it = Interpreter(str(path), num_threads=1)
    at = it.get_input_details()[0]
    n_in = int(at["shape"][1])
    it.resize_tensor_input(at["index"], [batch, n_in])
    it.allocate_tensors()
    it.set_tensor(at["index"], codes(batch, n_in))
    it.invoke()
    out = it.get_tensor(it.get_output_details()[0]["index"]).copy()
    return timed(it.invoke, batch), out


def ort(path, batch):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = codes(batch, session.get_inputs()[0].shape[1]).view(np.uint8) ^ 128
    bound = session.io_binding()
    bound.bind_cpu_input("x", x)
    y = np.zeros((batch, session.get_outputs()[0].shape[1]), np.uint8)
    name = session.get_outputs()[0].name
    bound.bind_output(name, "cpu", 0, np.uint8, y.shape, y.ctypes.data)
    buffers = x, y

    def run(_keep=buffers):
        session.run_with_iobinding(bound)

    run()
    return timed(run, batch), (y ^ 128).view(np.int8)


class Served:
    """A program that is asked for one block at a time: our bench, or tract."""

    def __init__(self, *command):
        self.pipes = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.pipes.stdin.write(" ".join(map(str, words)) + "\n")
        self.pipes.stdin.flush()
        return json.loads(self.pipes.stdout.readline())

    def engine(self, path, batch, kernel="-"):
        out = np.array(self.ask("load", path, batch, kernel)["output"], np.int8)
        return (lambda: self.ask("block", path, batch, kernel, BLOCK_S)["seconds"]), out


def main(source, ours, tract, work):
    work = Path(work)
    work.mkdir(parents=True, exist_ok=True)
    full = read(source)
    half = without_units(full, 0.5)
    networks = {
        "call": tiny(full),
        "dense": full,
        "half the units": half,
        "80 % of blocks out": without_blocks(full, 0.8),
        "half, and 80 % of blocks out": without_blocks(half, 0.8),
        "dense, 7 bits": of_seven_bits(full),
        "half the units, 7 bits": of_seven_bits(half),
    }
    ours, tract = Served(ours, "--serve"), Served(tract)
    kernels = ours.ask("kernels")["kernels"]
    kernels = [name for name in kernels if name != "reference"]
    blocks, differ = {}, {}
    for name, network in networks.items():
        tflite = write(network, work / f"{name.replace(' ', '_').replace('%', '').replace(',', '')}.tflite")
        graph = to_onnx(network, tflite.with_suffix(".onnx"))
        for batch in BATCHES:
            runs = {"litert": litert(tflite, batch), "onnxruntime": ort(graph, batch),
                    "tract": tract.engine(graph, batch)}
            for kernel in kernels:
                runs[f"auscult {kernel}"] = ours.engine(tflite, batch, kernel)
            want = runs["litert"][1].astype(int)
            for engine, (block, out) in runs.items():
                blocks[name, batch, engine] = block
                differ[name, batch, engine] = int(np.abs(out.reshape(want.shape) - want).max())
    best = dict.fromkeys(blocks, float("inf"))
    for _ in range(ROUNDS):
        for key, block in blocks.items():
            best[key] = min(best[key], block())
    report(networks, kernels, best, differ)


def report(networks, kernels, best, differ):
    print("microseconds per window, best block; (d) where outputs differ from LiteRT's by up to d codes;")
    print("x: how many times faster than the best of the others on the same network and batch\n")
    others = ["litert", "onnxruntime", "tract"]
    engines = others + [f"auscult {kernel}" for kernel in kernels]
    print(f"{'network':30}{'batch':>6}" + "".join(f"{engine:>24}" for engine in engines))
    for name in networks:
        for batch in BATCHES:
            rival = min(best[name, batch, engine] for engine in others)
            row = f"{name:30}{batch:>6}"
            for engine in engines:
                us, d = best[name, batch, engine] * 1e6, differ[name, batch, engine]
                cell = f"{us:.2f}" + (f" ({d})" if d else "")
                if engine.startswith("auscult"):
                    cell += f" {rival * 1e6 / us:5.1f}x"
                row += f"{cell:>24}"
            print(row)


if __name__ == "__main__":
    main(*sys.argv[1:])
