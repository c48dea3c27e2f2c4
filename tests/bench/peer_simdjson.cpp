// Peer of the bench: the same report through simdjson's On-Demand reader. Not part of the product.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <simdjson.h>

using namespace simdjson;

int main(int argc, char **argv)
{
    std::uint64_t calls = 0, tids = 0, api_bytes = 0, times_us = 0;
    if (argc != 2)
        return 2;
    std::clock_t before = std::clock();
    auto begun = std::chrono::steady_clock::now();
    try {
        ondemand::parser parser;
        padded_string json = padded_string::load(argv[1]);
        ondemand::document document = parser.iterate(json);
        for (ondemand::object process : document["behavior"]["processes"].get_array())
            for (ondemand::object call : process["calls"].get_array()) {
                calls++;
                api_bytes += std::string_view(call["api"]).size();
                tids += std::uint64_t(call["tid"]);
                times_us += std::uint64_t(std::int64_t(double(call["time"]) * 1e6 + .5));
            }
    } catch (const simdjson_error &error) {
        std::fprintf(stderr, "%s: %s\n", argv[1], error.what());
        return 3;
    }
    std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun;
    double cpu = double(std::clock() - before) / CLOCKS_PER_SEC;
    std::printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"totals\": [%llu, %llu, %llu, %llu]}\n", taken.count(), cpu,
                (unsigned long long)calls, (unsigned long long)tids, (unsigned long long)api_bytes,
                (unsigned long long)times_us);
    return 0;
}
