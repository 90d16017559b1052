/* A stand-in for libcuda.so.1, so that the real bindings (cuda-python, pycuda) run where there is no GPU.
 *
 * Written from the public driver API header, which it includes: the compiler holds every signature against NVIDIA's own.
 * "Device" memory is host memory filled with garbage. What is queued on a stream happens when the stream, an event behind it
 * or the context is synchronized, never earlier; the clock counts what was done, a millisecond each. A call on a thread
 * without a current context fails, as it does in CUDA.
 * Knows no kernels: work comes in through cuLaunchHostFunc. Nothing undocumented is imitated, so TensorRT cannot run on it.
 */
#include <cuda.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define IN_CONTEXT do { if (!current) return CUDA_ERROR_INVALID_CONTEXT; if (broken) return broken; } while (0)

typedef struct Op { void *to; const void *from; size_t size; CUhostFn call; void *data; CUevent mark; struct Op *next; } Op;
typedef struct { Op *first, **last; } Queue;
struct CUstream_st { Queue queue; Queue recorded; int recording; struct CUstream_st *next; };
struct CUgraph_st { Queue queue; };
struct CUgraphExec_st { Queue queue; };
struct CUevent_st { CUstream stream; int happened; long when; };

static int the_context, initialized;
static __thread void *current;
static CUresult broken;      /* an error that stays, once standin_break set it */
static CUstream streams;     /* all that live */
static long held_device, held_host, held_streams, held_graphs, retained, held_events;
static long now;             /* milliseconds */

static void clear(Queue *q) { q->first = NULL; q->last = &q->first; }

static void add(Queue *q, Op op)
{
    Op *copy = malloc(sizeof op);
    *copy = op;
    copy->next = NULL;
    *q->last = copy;
    q->last = &copy->next;
}

static void drop(Queue *q)
{
    while (q->first) { Op *op = q->first; q->first = op->next; free(op); }
    clear(q);
}

static CUresult enqueue(CUstream stream, Op op)
{
    add(stream->recording ? &stream->recorded : &stream->queue, op);
    return CUDA_SUCCESS;
}

static CUresult drain(CUstream stream)
{
    if (stream->recording) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    for (Op *op = stream->queue.first; op; op = op->next) {
        if (op->mark) { op->mark->happened = 1; op->mark->when = now; continue; }
        now++;
        if (op->call) op->call(op->data);
        else memcpy(op->to, op->from, op->size);
    }
    drop(&stream->queue);
    return broken;
}

/* For tests */
EXPORT void standin_break(int error) { broken = error; }
EXPORT long standin_held(int kind) { return (long[]){held_device, held_host, held_streams, held_graphs, retained, held_events}[kind]; }

/* Driver and device */
EXPORT CUresult CUDAAPI cuInit(unsigned int flags) { (void)flags; initialized = 1; return getenv("STANDIN_NO_DEVICE") ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS; }
EXPORT CUresult CUDAAPI cuDriverGetVersion(int *version) { *version = CUDA_VERSION; return CUDA_SUCCESS; }
EXPORT CUresult CUDAAPI cuDeviceGet(CUdevice *device, int ordinal) { *device = ordinal; return ordinal ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS; }
EXPORT CUresult CUDAAPI cuDeviceGetCount(int *count) { *count = 1; return CUDA_SUCCESS; }
EXPORT CUresult CUDAAPI cuDeviceGetName(char *name, int size, CUdevice device) { (void)device; snprintf(name, size, "Stand-in"); return CUDA_SUCCESS; }

EXPORT CUresult CUDAAPI cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    (void)device;
    *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 8
           : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? 7
           : attribute == CU_DEVICE_ATTRIBUTE_INTEGRATED ? getenv("STANDIN_INTEGRATED") != NULL : 0;
    return CUDA_SUCCESS;
}

#undef cuDeviceComputeCapability
EXPORT CUresult CUDAAPI cuDeviceComputeCapability(int *major, int *minor, CUdevice device) { (void)device; *major = 8; *minor = 7; return CUDA_SUCCESS; }

/* Contexts */
EXPORT CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) { (void)device; retained++; *context = (CUcontext)&the_context; return CUDA_SUCCESS; }
#undef cuDevicePrimaryCtxRelease
EXPORT CUresult CUDAAPI cuDevicePrimaryCtxRelease_v2(CUdevice device) { (void)device; retained--; return CUDA_SUCCESS; }
#undef cuDevicePrimaryCtxSetFlags
EXPORT CUresult CUDAAPI cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned int flags) { (void)device; return flags == CU_CTX_SCHED_BLOCKING_SYNC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; }
EXPORT CUresult CUDAAPI cuCtxSetCurrent(CUcontext context) { current = context; return CUDA_SUCCESS; }
EXPORT CUresult CUDAAPI cuCtxGetCurrent(CUcontext *context) { *context = current; return CUDA_SUCCESS; }
#undef cuCtxPushCurrent
EXPORT CUresult CUDAAPI cuCtxPushCurrent_v2(CUcontext context) { current = context; return CUDA_SUCCESS; }
#undef cuCtxPopCurrent
EXPORT CUresult CUDAAPI cuCtxPopCurrent_v2(CUcontext *context) { if (!current) return CUDA_ERROR_INVALID_CONTEXT; if (context) *context = current; current = NULL; return CUDA_SUCCESS; }
EXPORT CUresult CUDAAPI cuCtxGetDevice(CUdevice *device) { IN_CONTEXT; *device = 0; return CUDA_SUCCESS; }
EXPORT CUresult CUDAAPI cuCtxSynchronize(void)
{
    IN_CONTEXT;
    for (CUstream s = streams; s; s = s->next) { CUresult result = drain(s); if (result) return result; }
    return CUDA_SUCCESS;
}

/* Memory */
static void *garbage(size_t size)
{
    unsigned char *block = aligned_alloc(256, (size + 255) / 256 * 256);
    for (size_t i = 0; i < size; i++) block[i] = (unsigned char)(i * 151 + 77);
    return block;
}

#undef cuMemAlloc
EXPORT CUresult CUDAAPI cuMemAlloc_v2(CUdeviceptr *address, size_t size) { IN_CONTEXT; if (!size) return CUDA_ERROR_INVALID_VALUE; if (size >> 40) return CUDA_ERROR_OUT_OF_MEMORY; held_device++; *address = (uintptr_t)garbage(size); return CUDA_SUCCESS; }
#undef cuMemFree
EXPORT CUresult CUDAAPI cuMemFree_v2(CUdeviceptr address) { IN_CONTEXT; held_device--; free((void *)(uintptr_t)address); return CUDA_SUCCESS; }
EXPORT CUresult CUDAAPI cuMemHostAlloc(void **host, size_t size, unsigned int flags) { IN_CONTEXT; (void)flags; held_host++; *host = garbage(size); return CUDA_SUCCESS; }
EXPORT CUresult CUDAAPI cuMemFreeHost(void *host) { IN_CONTEXT; held_host--; free(host); return CUDA_SUCCESS; }
#undef cuMemHostGetDevicePointer
EXPORT CUresult CUDAAPI cuMemHostGetDevicePointer_v2(CUdeviceptr *address, void *host, unsigned int flags) { IN_CONTEXT; (void)flags; *address = (uintptr_t)host; return CUDA_SUCCESS; }
#undef cuMemcpyHtoDAsync
EXPORT CUresult CUDAAPI cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream) { IN_CONTEXT; return enqueue(stream, (Op){.to = (void *)(uintptr_t)to, .from = from, .size = size}); }
#undef cuMemcpyDtoHAsync
EXPORT CUresult CUDAAPI cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream) { IN_CONTEXT; return enqueue(stream, (Op){.to = to, .from = (void *)(uintptr_t)from, .size = size}); }

/* Streams and events */
EXPORT CUresult CUDAAPI cuStreamCreate(CUstream *stream, unsigned int flags)
{
    IN_CONTEXT;
    if (flags != CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
    *stream = calloc(1, sizeof **stream);
    clear(&(*stream)->queue);
    clear(&(*stream)->recorded);
    (*stream)->next = streams;
    streams = *stream;
    held_streams++;
    return CUDA_SUCCESS;
}

#undef cuStreamDestroy
EXPORT CUresult CUDAAPI cuStreamDestroy_v2(CUstream stream)
{
    IN_CONTEXT;
    for (CUstream *place = &streams; *place; place = &(*place)->next)
        if (*place == stream) { *place = stream->next; held_streams--; free(stream); return CUDA_SUCCESS; }
    return CUDA_ERROR_INVALID_HANDLE;
}

EXPORT CUresult CUDAAPI cuStreamSynchronize(CUstream stream) { IN_CONTEXT; return drain(stream); }
EXPORT CUresult CUDAAPI cuLaunchHostFunc(CUstream stream, CUhostFn call, void *data) { IN_CONTEXT; return enqueue(stream, (Op){.call = call, .data = data}); }
EXPORT CUresult CUDAAPI cuEventCreate(CUevent *event, unsigned int flags) { IN_CONTEXT; (void)flags; *event = calloc(1, sizeof **event); held_events++; return CUDA_SUCCESS; }
EXPORT CUresult CUDAAPI cuEventRecord(CUevent event, CUstream stream) { IN_CONTEXT; event->stream = stream; event->happened = 0; return enqueue(stream, (Op){.mark = event}); }
EXPORT CUresult CUDAAPI cuEventSynchronize(CUevent event) { IN_CONTEXT; return event->stream ? drain(event->stream) : CUDA_SUCCESS; }
#undef cuEventDestroy
EXPORT CUresult CUDAAPI cuEventDestroy_v2(CUevent event) { held_events--; free(event); return CUDA_SUCCESS; }
/* CUDA 12.8 gave it a second form; the binding asks for that of its own header */
#undef cuEventElapsedTime
EXPORT CUresult CUDAAPI cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end)
{
    IN_CONTEXT;
    if (!start->happened || !end->happened) return CUDA_ERROR_NOT_READY;
    *milliseconds = (float)(end->when - start->when);
    return CUDA_SUCCESS;
}
EXPORT CUresult CUDAAPI cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) { return cuEventElapsedTime(milliseconds, start, end); }

/* Graphs */
#undef cuStreamBeginCapture
EXPORT CUresult CUDAAPI cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) { IN_CONTEXT; (void)mode; if (stream->recording) return CUDA_ERROR_ILLEGAL_STATE; stream->recording = 1; return CUDA_SUCCESS; }
EXPORT CUresult CUDAAPI cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) { IN_CONTEXT; *status = stream->recording ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE; return CUDA_SUCCESS; }

EXPORT CUresult CUDAAPI cuStreamEndCapture(CUstream stream, CUgraph *graph)
{
    IN_CONTEXT;
    if (!stream->recording) return CUDA_ERROR_ILLEGAL_STATE;
    stream->recording = 0;
    *graph = malloc(sizeof **graph);
    clear(&(*graph)->queue);
    for (Op *op = stream->recorded.first; op; op = op->next) add(&(*graph)->queue, *op);
    drop(&stream->recorded);
    held_graphs++;
    return CUDA_SUCCESS;
}

EXPORT CUresult CUDAAPI cuGraphDestroy(CUgraph graph) { drop(&graph->queue); free(graph); held_graphs--; return CUDA_SUCCESS; }

#undef cuGraphInstantiate
EXPORT CUresult CUDAAPI cuGraphInstantiateWithFlags(CUgraphExec *made, CUgraph graph, unsigned long long flags)
{
    IN_CONTEXT;
    (void)flags;
    *made = malloc(sizeof **made);
    clear(&(*made)->queue);
    for (Op *op = graph->queue.first; op; op = op->next) add(&(*made)->queue, *op);
    held_graphs++;
    return CUDA_SUCCESS;
}

EXPORT CUresult CUDAAPI cuGraphLaunch(CUgraphExec graph, CUstream stream)
{
    IN_CONTEXT;
    for (Op *op = graph->queue.first; op; op = op->next) enqueue(stream, *op);
    return CUDA_SUCCESS;
}

EXPORT CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec graph) { drop(&graph->queue); free(graph); held_graphs--; return CUDA_SUCCESS; }

/* Errors, and how bindings find functions */
EXPORT CUresult CUDAAPI cuGetErrorString(CUresult error, const char **words)
{
    *words = error == CUDA_ERROR_ILLEGAL_ADDRESS ? "an illegal memory access was encountered"
           : error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory"
           : error == CUDA_ERROR_NO_DEVICE ? "no CUDA-capable device is detected" : "another error";
    return CUDA_SUCCESS;
}

static const struct { const char *name; void *function; } names[] = {
#define F(name) {#name, (void *)name}
    F(cuInit), F(cuDriverGetVersion), F(cuDeviceGet), F(cuDeviceGetCount), F(cuDeviceGetName), F(cuDeviceGetAttribute),
    F(cuDeviceComputeCapability), F(cuDevicePrimaryCtxRetain), F(cuCtxSetCurrent), F(cuCtxGetCurrent), F(cuCtxGetDevice),
    F(cuCtxSynchronize), F(cuMemHostAlloc), F(cuMemFreeHost), F(cuStreamCreate), F(cuStreamSynchronize),
    F(cuLaunchHostFunc), F(cuEventCreate), F(cuEventRecord), F(cuEventSynchronize), F(cuEventElapsedTime),
    F(cuStreamIsCapturing),
    F(cuStreamEndCapture), F(cuGraphDestroy), F(cuGraphLaunch), F(cuGraphExecDestroy), F(cuGetErrorString),
    {"cuDevicePrimaryCtxRelease", (void *)cuDevicePrimaryCtxRelease_v2},
    {"cuDevicePrimaryCtxSetFlags", (void *)cuDevicePrimaryCtxSetFlags_v2},
    {"cuCtxPushCurrent", (void *)cuCtxPushCurrent_v2}, {"cuCtxPopCurrent", (void *)cuCtxPopCurrent_v2},
    {"cuMemAlloc", (void *)cuMemAlloc_v2}, {"cuMemFree", (void *)cuMemFree_v2},
    {"cuMemHostGetDevicePointer", (void *)cuMemHostGetDevicePointer_v2},
    {"cuMemcpyHtoDAsync", (void *)cuMemcpyHtoDAsync_v2}, {"cuMemcpyDtoHAsync", (void *)cuMemcpyDtoHAsync_v2},
    {"cuStreamDestroy", (void *)cuStreamDestroy_v2}, {"cuEventDestroy", (void *)cuEventDestroy_v2},
    {"cuStreamBeginCapture", (void *)cuStreamBeginCapture_v2}, {"cuGraphInstantiateWithFlags", (void *)cuGraphInstantiateWithFlags},
};

#undef cuGetProcAddress
EXPORT CUresult CUDAAPI cuGetProcAddress_v2(const char *symbol, void **function, int version, cuuint64_t flags,
                                            CUdriverProcAddressQueryResult *status)
{
    (void)version; (void)flags;
    *function = NULL;
    if (!strcmp(symbol, "cuGetProcAddress")) *function = (void *)cuGetProcAddress_v2;
    for (size_t i = 0; i < sizeof names / sizeof *names && !*function; i++)
        if (!strcmp(symbol, names[i].name)) *function = names[i].function;
    if (status) *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

EXPORT CUresult CUDAAPI cuGetProcAddress(const char *symbol, void **function, int version, cuuint64_t flags)
{
    return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
