/* SPDX-License-Identifier: BSD-3-Clause */
// A program outside the tree, in C++: it is built against an installed copy.
#include <keyway.h>
#include <keyway/hiredis.h>

#include <iostream>
#include <string>

int main()
{
    kw_error error = {};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_ANY;
    kw_client *kw = kw_open("redis-cluster://127.0.0.1:1", &error);
    if (kw == nullptr) {
        std::cerr << error.text << std::endl;
        return 1;
    }
    kw_close(kw);
    const char *words[] = {"GET", "user:{123}:profile"};
    size_t at = 0;
    size_t keys_n = 0;
    if (kw_command_keys({2, words, nullptr}, &error, &at, 1, &keys_n) != KW_OK || keys_n != 1) {
        std::cerr << error.text << std::endl;
        return 1;
    }
    const std::string key = "user:{123}:profile";
    if (kw_slot(key.data(), key.size()) != kw_slot("123", 3) ||
        kw_reply_hiredis(nullptr) != nullptr || options.size != sizeof(options)) {
        return 1;
    }
    std::cout << kw_version() << std::endl;
    return 0;
}
