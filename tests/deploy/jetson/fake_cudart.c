/* A CUDA runtime without a GPU, strict where the real one is fast: device pointers cannot be read by the host, copies
 * and kernels wait in one stream until it is synchronised, and memory is only found where it was allocated.
 *
 * Environment:
 *   FAKE_CUDA_FAIL        NAME:CODE or NAME:CODE:N, the function that answers CODE, from its N-th call on (1)
 *   FAKE_CUDA_INTEGRATED  1 where GPU and CPU share their memory
 *   FAKE_CUDA_CAPABILITY  e.g. 87
 *   FAKE_CUDA_REPORT      a file for "mapped N copied N live N": allocations by kind, and those never freed
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEVICE_TAG ((uintptr_t)1 << 56) /* makes a device pointer one that no host can read */
#define LIMIT 256
enum { OK = 0, INVALID_VALUE = 1, NOT_READY = 600 };

static struct { char *host, *device; size_t size; int is_mapped, is_device_only; } memory[LIMIT];
static struct { char *to, *from; size_t size; struct timespec *event; void (*kernel)(void *); void *argument; } queue[LIMIT];
static int allocations, live, queued, mapped_count, copied_count;

static int number(const char *variable, int otherwise) {
    const char *text = getenv(variable);
    return text ? atoi(text) : otherwise;
}

/* The code that a call is to fail with. */
static int fault(const char *name) {
    static int calls;
    char wanted[64];
    int code = 0, from = 1;
    const char *text = getenv("FAKE_CUDA_FAIL");
    if (!text || sscanf(text, "%63[^:]:%d:%d", wanted, &code, &from) < 2 || strcmp(wanted, name)) return OK;
    return ++calls >= from ? code : OK;
}
#define FAULT() do { int code = fault(__func__); if (code) return code; } while (0)

static void allocate(char **pointer, size_t size, int is_mapped, int is_device_only) {
    char *host = malloc(size);
    memset(host, 0xA5, size); /* what nobody wrote shows */
    memory[allocations].host = host;
    memory[allocations].device = (char *)((uintptr_t)host | DEVICE_TAG);
    memory[allocations].size = size;
    memory[allocations].is_mapped = is_mapped;
    memory[allocations].is_device_only = is_device_only;
    *pointer = is_device_only ? memory[allocations].device : host;
    allocations++, live++;
}

static int release(char *pointer) {
    for (int i = 0; i < allocations; i++)
        if (memory[i].size && pointer == (memory[i].is_device_only ? memory[i].device : memory[i].host)) {
            free(memory[i].host);
            memory[i].size = 0;
            live--;
            return OK;
        }
    return INVALID_VALUE;
}

/* Where the device's memory really lies; NULL if `size` bytes there are none of the device's. */
char *fakeDeviceMemory(char *device, size_t size) {
    for (int i = 0; i < allocations; i++)
        if (memory[i].size >= size && memory[i].device == device && (memory[i].is_mapped || memory[i].is_device_only))
            return memory[i].host;
    return NULL;
}

static char *pinned(char *host, size_t size) {
    for (int i = 0; i < allocations; i++)
        if (memory[i].size >= size && memory[i].host == host && !memory[i].is_device_only) return host;
    return NULL;
}

/* Queues a kernel: it runs when the stream is synchronised. */
void fakeLaunch(void (*kernel)(void *), void *argument) {
    memset(&queue[queued], 0, sizeof queue[0]);
    queue[queued].kernel = kernel;
    queue[queued++].argument = argument;
}

int cudaGetDeviceCount(int *count) { FAULT(); *count = 1; return OK; }

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    FAULT();
    int capability = number("FAKE_CUDA_CAPABILITY", 87);
    if (device) return INVALID_VALUE;
    switch (attribute) {
    case 16: *value = 8; return OK;
    case 18: *value = number("FAKE_CUDA_INTEGRATED", 0); return OK;
    case 75: *value = capability / 10; return OK;
    case 76: *value = capability % 10; return OK;
    }
    return INVALID_VALUE;
}

int cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *free_bytes = (size_t)100 << 20, *total = (size_t)4000 << 20;
    return OK;
}

const char *cudaGetErrorString(int code) { return code == 100 ? "no CUDA-capable device is detected" : "a fake error"; }

int cudaMalloc(void **pointer, size_t size) { FAULT(); copied_count++; allocate((char **)pointer, size, 0, 1); return OK; }

int cudaHostAlloc(void **pointer, size_t size, unsigned flags) {
    FAULT();
    mapped_count += flags == 2;
    allocate((char **)pointer, size, flags == 2, 0);
    return OK;
}

int cudaHostGetDevicePointer(void **device, void *host, unsigned flags) {
    FAULT();
    for (int i = 0; i < allocations; i++)
        if (memory[i].host == host && memory[i].is_mapped && !flags) { *device = memory[i].device; return OK; }
    return INVALID_VALUE;
}

int cudaFree(void *device) { return release(device); }
int cudaFreeHost(void *host) { return release(host); }

int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    FAULT();
    char *target = kind == 1 ? fakeDeviceMemory(to, size) : pinned(to, size);
    char *source = kind == 1 ? pinned((char *)from, size) : fakeDeviceMemory((char *)from, size);
    if (!target || !source || !stream) return INVALID_VALUE;
    memset(&queue[queued], 0, sizeof queue[0]);
    queue[queued].to = target, queue[queued].from = source, queue[queued++].size = size;
    return OK;
}

int cudaStreamCreate(void **stream) { FAULT(); *stream = &queue; live++; return OK; }
int cudaStreamDestroy(void *stream) { live--; return stream == &queue ? OK : INVALID_VALUE; }

int cudaStreamSynchronize(void *stream) {
    FAULT();
    for (int i = 0; i < queued; i++) {
        if (queue[i].kernel) queue[i].kernel(queue[i].argument);
        else if (queue[i].event) clock_gettime(CLOCK_MONOTONIC, queue[i].event);
        else memcpy(queue[i].to, queue[i].from, queue[i].size);
    }
    queued = 0;
    return stream == &queue ? OK : INVALID_VALUE;
}

int cudaEventCreate(void **event) { FAULT(); *event = calloc(1, sizeof(struct timespec)); live++; return OK; }
int cudaEventDestroy(void *event) { free(event); live--; return OK; }

int cudaEventRecord(void *event, void *stream) {
    FAULT();
    if (stream != &queue) return INVALID_VALUE;
    memset(&queue[queued], 0, sizeof queue[0]);
    queue[queued++].event = event;
    return OK;
}

int cudaEventElapsedTime(float *milliseconds, void *start, void *end) {
    struct timespec *from = start, *to = end;
    FAULT();
    if (!from->tv_sec || !to->tv_sec || queued) return NOT_READY;
    *milliseconds = (to->tv_sec - from->tv_sec) * 1e3f + (to->tv_nsec - from->tv_nsec) / 1e6f;
    return OK;
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("FAKE_CUDA_REPORT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "mapped %d copied %d live %d\n", mapped_count, copied_count, live);
    fclose(file);
}
