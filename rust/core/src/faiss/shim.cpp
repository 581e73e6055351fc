// The part of FAISS that has to be called from C++: its exceptions must not cross into Rust, and an index is read through a reader
// object with virtual functions. FAISS has no C interface in its wheels and no headers there, so what is declared here mirrors
// faiss/impl/io.h and the start of faiss/Index.h of the versions that `library.rs` accepts; a self-test at load compares.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>

namespace {

// Same virtual functions in the same order, and the same field, as faiss::IOReader.
struct Reader {
    std::string name;
    virtual size_t operator()(void* to, size_t size, size_t items) = 0;
    virtual int filedescriptor() { throw std::runtime_error("an index in memory has no file descriptor"); }
    virtual ~Reader() = default;
};

struct MemoryReader final : Reader {
    const uint8_t* next;
    size_t left;

    MemoryReader(const uint8_t* data, size_t length) : next(data), left(length) { name = "index"; }

    size_t operator()(void* to, size_t size, size_t items) override {
        if (size == 0) {
            return 0;
        }
        const size_t whole = std::min(items, left / size);
        if (whole > 0) {
            std::memcpy(to, next, whole * size);
            next += whole * size;
            left -= whole * size;
        }
        return whole;
    }
};

void tell(const char* message, char* error, size_t room) {
    if (room > 0) {
        std::strncpy(error, message, room - 1);
        error[room - 1] = '\0';
    }
}

// Runs `work`; whatever it throws becomes a message and the answer false.
template <typename Work>
bool guarded(char* error, size_t room, Work work) {
    try {
        work();
        return true;
    } catch (const std::exception& exception) {
        tell(exception.what(), error, room);
    } catch (...) {
        tell("an exception of unknown type", error, room);
    }
    return false;
}

using Slot = void (*)();

Slot slot_of(const void* object, size_t slot) {
    return (*static_cast<const Slot* const*>(object))[slot];
}

} // namespace

extern "C" {

bool turnout_faiss_version(void* function, char* version, size_t version_room, char* error, size_t room) {
    return guarded(error, room, [&] {
        const std::string found = reinterpret_cast<std::string (*)()>(function)();
        tell(found.c_str(), version, version_room);
    });
}

// faiss::read_index(faiss::IOReader*, int)
bool turnout_faiss_read(void* function, const uint8_t* data, size_t length, void** index, char* error, size_t room) {
    return guarded(error, room, [&] {
        MemoryReader reader(data, length);
        *index = reinterpret_cast<void* (*)(Reader*, int)>(function)(&reader, 0);
        if (*index == nullptr) {
            throw std::runtime_error("no index came of it");
        }
    });
}

// virtual void faiss::Index::search(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels, const SearchParameters*) const
bool turnout_faiss_search(
    const void* index, size_t slot, int64_t n, const float* x, int64_t k, float* distances, int64_t* labels, char* error, size_t room) {
    return guarded(error, room, [&] {
        using Search = void (*)(const void*, int64_t, const float*, int64_t, float*, int64_t*, const void*);
        reinterpret_cast<Search>(slot_of(index, slot))(index, n, x, k, distances, labels, nullptr);
    });
}

// The deleting destructor of faiss::Index.
void turnout_faiss_delete(void* index, size_t slot) {
    char error[1];
    guarded(error, sizeof error, [&] { reinterpret_cast<void (*)(void*)>(slot_of(index, slot))(index); });
}

} // extern "C"
