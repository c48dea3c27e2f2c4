// Reads safetensors headers with @huggingface/hub, the library of the format's authors: node safetensors_header.js MODULES FILE…
// prints one JSON object a file, {header, parameters} or {error}. The library reads from a hub; here the hub is the file, and nothing
// goes to the network.
"use strict";
const fs = require("fs");
const path = require("path");
const [modules, ...files] = process.argv.slice(2);
const { parseSafetensorsMetadata } = require(path.join(modules, "@huggingface", "hub"));

function serve(bytes) {
    return async (url, options = {}) => {
        const [, first, last] = /bytes=(\d+)-(\d*)/.exec(new Headers(options.headers).get("Range") ?? "bytes=0-");
        const from = Number(first), to = Math.min(last === "" ? bytes.length - 1 : Number(last), bytes.length - 1);
        return new Response(bytes.subarray(from, to + 1), { status: 206, headers: {
            "Content-Range": `bytes ${from}-${to}/${bytes.length}`, ETag: '"file"', "Content-Type": "application/octet-stream" } });
    };
}

(async () => {
    for (const file of files) {
        try {
            const found = await parseSafetensorsMetadata({ repo: "local/model", path: "model.safetensors", hubUrl: "http://127.0.0.1",
                                                           computeParametersCount: true, fetch: serve(fs.readFileSync(file)) });
            console.log(JSON.stringify({ header: found.header, parameters: found.parameterCount }));
        } catch (error) {
            console.log(JSON.stringify({ error: String(error) }));
        }
    }
})();
