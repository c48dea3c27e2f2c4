// Runs ONNX files with onnxruntime and compares: node onnx_run.js MODULES NAME.onnx NAME.json … prints one JSON object a pair
// with the largest difference to the scores in the JSON file. MODULES is the folder that holds onnxruntime-node.
"use strict";
const fs = require("fs");
const path = require("path");
const [modules, ...files] = process.argv.slice(2);
const runtime = require(path.join(modules, "onnxruntime-node"));

function tensor(name, rows) {
    const flat = rows.flat();
    const dims = Array.isArray(rows[0]) ? [rows.length, rows[0].length] : [rows.length];
    return name === "wide" ? new runtime.Tensor("float32", Float32Array.from(flat), dims)
                           : new runtime.Tensor("int64", BigInt64Array.from(flat.map(BigInt)), dims);
}

async function compare(model, data) {
    const session = await runtime.InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 3 });
    const { inputs, scores } = JSON.parse(fs.readFileSync(data));
    const feeds = Object.fromEntries(Object.entries(inputs).map(([name, rows]) => [name, tensor(name, rows)]));
    const got = (await session.run(feeds)).scores;
    const want = scores.flat();
    let worst = got.dims.join() === [scores.length, scores[0].length].join() ? 0 : Infinity;
    want.forEach((value, i) => { worst = Math.max(worst, Math.abs(value - got.data[i])) });
    if (got.data.some(Number.isNaN)) worst = Infinity;
    const spread = Math.max(...want) - Math.min(...want);
    console.log(JSON.stringify({ model: path.basename(model), inputs: session.inputNames, outputs: session.outputNames,
                                 rows: scores.length, worst: String(worst), spread }));
}

(async () => {
    for (let i = 0; i < files.length; i += 2) await compare(files[i], files[i + 1]);
})().catch((error) => { console.error(String(error)); process.exit(1) });
