// Peer of the bench: the same report through simdjson's On-Demand reader over a populated mapping. Not part of the product.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <simdjson.h>
#include <sys/mman.h>
#include <sys/stat.h>

using namespace simdjson;

// The whole file, its pages present, with the readable bytes behind it that the parser asks for; NULL when that fails.
static char *mapped(const char *path, std::size_t *size)
{
    struct stat state;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &state) != 0)
        return nullptr;
    *size = std::size_t(state.st_size);
    void *room = mmap(nullptr, *size + SIMDJSON_PADDING, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return nullptr;
    void *file = mmap(room, *size, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, fd, 0);
    return file == MAP_FAILED ? nullptr : static_cast<char *>(file);
}

int main(int argc, char **argv)
{
    std::uint64_t calls = 0, tids = 0, api_bytes = 0, times_us = 0;
    std::size_t size = 0;
    bool held = argc == 3 && std::strcmp(argv[1], "--held") == 0; // the clock starts when the mapping is there
    if (argc != 2 && !held)
        return 2;
    const char *path = argv[argc - 1];
    std::clock_t before = std::clock();
    auto begun = std::chrono::steady_clock::now();
    char *bytes = mapped(path, &size);
    if (!bytes) {
        std::perror(path);
        return 4;
    }
    if (held) {
        before = std::clock();
        begun = std::chrono::steady_clock::now();
    }
    try {
        ondemand::parser parser;
        padded_string_view json(bytes, size, size + SIMDJSON_PADDING);
        ondemand::document document = parser.iterate(json);
        for (ondemand::object process : document["behavior"]["processes"].get_array())
            for (ondemand::object call : process["calls"].get_array()) {
                calls++;
                api_bytes += std::string_view(call["api"]).size();
                tids += std::uint64_t(call["tid"]);
                times_us += std::uint64_t(std::int64_t(double(call["time"]) * 1e6 + .5));
            }
    } catch (const simdjson_error &error) {
        std::fprintf(stderr, "%s: %s\n", path, error.what());
        return 3;
    }
    std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun;
    double cpu = double(std::clock() - before) / CLOCKS_PER_SEC;
    std::printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"totals\": [%llu, %llu, %llu, %llu]}\n", taken.count(), cpu,
                (unsigned long long)calls, (unsigned long long)tids, (unsigned long long)api_bytes,
                (unsigned long long)times_us);
    return 0;
}
