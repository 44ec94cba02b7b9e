# SPDX-License-Identifier: BSD-3-Clause
# keyway by ctypes: what an extension for Python would call. Argument: the shared library.
import ctypes as c
import sys


class Error(c.Structure):
    _fields_ = [("size", c.c_size_t), ("code", c.c_int), ("effect", c.c_int), ("attempts", c.c_uint),
                ("elapsed_ms", c.c_uint), ("node", c.c_char * 128), ("text", c.c_char * 400)]


kw = c.CDLL(sys.argv[1])
kw.kw_open.restype = kw.kw_client_ring.restype = kw.kw_command_argv.restype = c.c_void_p
kw.kw_err_name.restype = kw.kw_effect_name.restype = kw.kw_ring_node_name.restype = c.c_char_p
kw.kw_command_argv.argtypes = [c.c_void_p, c.POINTER(Error), c.c_int, c.POINTER(c.c_char_p), c.c_void_p]
kw.kw_open.argtypes = [c.c_char_p, c.POINTER(Error)]
kw.kw_client_ring.argtypes = [c.c_void_p, c.POINTER(Error)]
kw.kw_ring_lookup.argtypes = [c.c_void_p, c.POINTER(c.c_uint32), c.c_char_p, c.c_size_t]
kw.kw_ring_node_name.argtypes = [c.c_void_p, c.c_void_p, c.c_uint32]
kw.kw_slot.argtypes = [c.c_char_p, c.c_size_t]
kw.kw_ring_unref.argtypes = kw.kw_close.argtypes = [c.c_void_p]

error = Error(size=c.sizeof(Error))
assert kw.kw_slot(b"user:{123}:profile", 18) == 5970
assert not kw.kw_open(b"redis://h?timeout=2", error) and b"unit" in error.text, error.text

client = kw.kw_open(b"redis-ring://a=127.0.0.1:1,b=127.0.0.1:1001?timeout=1s", error)
ring = kw.kw_client_ring(client, error)
node = c.c_uint32()
assert client and ring and kw.kw_ring_lookup(ring, node, b"greeting", 8) == 0
owner = kw.kw_ring_node_name(ring, None, node.value)
words = (c.c_char_p * 2)(b"GET", b"greeting")
assert not kw.kw_command_argv(client, error, 2, words, None)
print(owner.decode(), kw.kw_err_name(error.code).decode(), kw.kw_effect_name(error.effect).decode())
kw.kw_ring_unref(ring)
kw.kw_close(client)
