-- SPDX-License-Identifier: BSD-3-Clause
-- keyway by LuaJIT's FFI: what a module for Lua would call. Argument: the shared library.
local ffi = require("ffi")
ffi.cdef [[
typedef struct kw_client kw_client;
typedef struct kw_ring kw_ring;
typedef struct kw_reply kw_reply;
typedef struct kw_error {
    size_t size; int code; int effect; unsigned attempts; unsigned elapsed_ms;
    char node[128]; char text[400];
} kw_error;
kw_client *kw_open(const char *uri, kw_error *error);
void kw_close(kw_client *client);
kw_reply *kw_command(kw_client *client, kw_error *error, const char *format, ...);
kw_ring *kw_client_ring(kw_client *client, kw_error *error);
int kw_ring_lookup(const kw_ring *ring, uint32_t *node, const char *key, size_t key_len);
const char *kw_ring_node_name(const kw_ring *ring, size_t *name_len, uint32_t node);
void kw_ring_unref(kw_ring *ring);
unsigned kw_slot(const char *key, size_t key_len);
const char *kw_err_name(int code);
const char *kw_effect_name(int effect);
]]
local kw = ffi.load(arg[1])
local failure = ffi.new("kw_error", { ffi.sizeof("kw_error") })

assert(kw.kw_slot("user:{123}:profile", 18) == 5970)
assert(kw.kw_open("redis://h?timeout=2", failure) == nil)
assert(ffi.string(failure.text):find("unit"), ffi.string(failure.text))

local client = kw.kw_open("redis-ring://a=127.0.0.1:1,b=127.0.0.1:1001?timeout=1s", failure)
local ring = kw.kw_client_ring(client, failure)
local node = ffi.new("uint32_t[1]")
assert(client ~= nil and ring ~= nil and kw.kw_ring_lookup(ring, node, "greeting", 8) == 0)
assert(kw.kw_command(client, failure, "GET %s", "greeting") == nil)
print(ffi.string(kw.kw_ring_node_name(ring, nil, node[0])),
      ffi.string(kw.kw_err_name(failure.code)), ffi.string(kw.kw_effect_name(failure.effect)))
kw.kw_ring_unref(ring)
kw.kw_close(client)
