/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/stats.h: all figures as text, for Prometheus or as JSON. */
#include <keyway/stats.h>

#include <keyway/measure.h>

#include "api/client.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What is written goes to the caller's room as far as it fits, and is counted in any case. */
typedef struct text {
    char *at;
    size_t room; /* with the zero byte */
    size_t len;
    kw_stats_format format;
    bool has_more; /* JSON: a comma comes first */
    kw_node_stats *nodes;
    size_t nodes_n;
} text;

KW_FORMAT(2, 3)
static void put(text *self, const char *format, ...)
{
    size_t at = self->len < self->room ? self->len : self->room;
    va_list values;
    va_start(values, format);
    int n = vsnprintf(at < self->room ? self->at + at : NULL, self->room - at, format, values);
    va_end(values);
    self->len += n > 0 ? (size_t)n : 0;
}

/* Names of nodes and members may hold any bytes. */
static void put_escaped(text *self, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte == '"' || byte == '\\') {
            put(self, "\\%c", byte);
        } else if (byte < 0x20 || byte >= 0x7f) {
            put(self, self->format == KW_STATS_JSON ? "\\u%04x" : "%%%02x", byte);
        } else {
            put(self, "%c", byte);
        }
    }
}

/* A fraction of so many digits, with a point whatever the host's locale has there. */
static void put_fraction(text *self, uint64_t number, uint64_t one, int digits)
{
    put(self, "%" PRIu64 ".%0*" PRIu64, number / one, digits, number % one);
}

static void put_seconds(text *self, uint64_t ns)
{
    put_fraction(self, ns, UINT64_C(1000000000), 9);
}

/* One figure: its name, whether it is a counter, and where it is. */
typedef struct figure {
    const char *name;
    const char *seconds; /* its name for Prometheus, which has no milliseconds; else NULL */
    bool is_counter;
    size_t offset;
    const char *help;
} figure;

#define COUNT(member, help)                                                                        \
    {                                                                                              \
#member, NULL, true, offsetof(kw_stats, member), help                                      \
    }
#define GAUGE(member, help)                                                                        \
    {                                                                                              \
#member, NULL, false, offsetof(kw_stats, member), help                                     \
    }
#define TIME(member, seconds, is_counter, help)                                                    \
    {                                                                                              \
#member, seconds, is_counter, offsetof(kw_stats, member), help                             \
    }

static const figure figures[] = {
    COUNT(commands, "calls that ended, with a reply or not"),
    COUNT(failures, "calls that ended without a reply"),
    COUNT(moved, "MOVED and REDIRECT followed"),
    COUNT(ask, "ASK followed"),
    COUNT(waits, "TRYAGAIN, CLUSTERDOWN, LOADING and the like waited out"),
    COUNT(retries, "sends after a lost connection"),
    COUNT(timeouts, "calls that met their deadline after sending"),
    COUNT(refreshes, "maps fetched"),
    COUNT(refresh_failures, "fetches that gave no map"),
    COUNT(map_changes, "maps published that differ from the one before"),
    COUNT(connects, "connections opened"),
    COUNT(connect_failures, "connections that could not be opened"),
    COUNT(disconnects, "connections lost or closed after a failure"),
    COUNT(downs, "servers that were found to be down"),
    COUNT(ups, "servers that came back"),
    COUNT(pushes, "messages that servers pushed, dropped"),
    COUNT(versions_ahead, "answers with versions too far ahead"),
    GAUGE(connections, "connections open"),
    GAUGE(connections_used, "connections in use"),
    GAUGE(waiting, "calls that wait for a connection"),
    GAUGE(nodes, "nodes known"),
    GAUGE(nodes_down, "primaries that are down"),
    GAUGE(map_number, "number of the map in use"),
    TIME(map_age_ms, "map_age_seconds", false, "time since the map was published"),
};

#undef COUNT
#undef GAUGE
#undef TIME

#define COUNT(member, help)                                                                        \
    {                                                                                              \
#member, NULL, true, offsetof(kw_node_stats, member), help                                 \
    }
#define GAUGE(member, help)                                                                        \
    {                                                                                              \
#member, NULL, false, offsetof(kw_node_stats, member), help                                \
    }
#define TIME(member, seconds, is_counter, help)                                                    \
    {                                                                                              \
#member, seconds, is_counter, offsetof(kw_node_stats, member), help                        \
    }

static const figure node_figures[] = {
    COUNT(sends, "commands sent"),
    COUNT(moved, "MOVED and REDIRECT answered"),
    COUNT(ask, "ASK answered"),
    COUNT(retries, "sends after a connection was lost"),
    COUNT(timeouts, "calls that met their deadline"),
    COUNT(connects, "connections opened"),
    COUNT(connect_failures, "connections that could not be opened"),
    COUNT(disconnects, "connections lost"),
    TIME(down_total_ms, "down_seconds", true, "time for which it was down"),
    GAUGE(connections, "connections open"),
    GAUGE(connections_used, "connections in use"),
    GAUGE(waiting, "calls that wait for a connection"),
    GAUGE(slots, "slots owned"),
    GAUGE(lag_bytes, "bytes of the primary's stream not applied yet"),
    TIME(lag_ms, "lag_seconds", false, "age of what the replica is known to have"),
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

static uint64_t value_of(const void *stats, const figure *of)
{
    uint64_t value;
    memcpy(&value, (const char *)stats + of->offset, sizeof(value));
    return value;
}

/* Its name for Prometheus. */
static void put_name(text *self, const char *prefix, const figure *of)
{
    put(self, "keyway_%s%s%s", prefix, of->seconds != NULL ? of->seconds : of->name,
        of->is_counter ? "_total" : "");
}

static void put_value(text *self, const void *stats, const figure *of)
{
    uint64_t value = value_of(stats, of);
    if (of->seconds != NULL) {
        put_fraction(self, value, 1000, 3);
    } else {
        put(self, "%" PRIu64, value);
    }
}

static void put_head(text *self, const char *prefix, const figure *of)
{
    put(self, "# HELP ");
    put_name(self, prefix, of);
    put(self, " %s\n# TYPE ", of->help);
    put_name(self, prefix, of);
    put(self, " %s\n", of->is_counter ? "counter" : "gauge");
}

static void put_comma(text *self)
{
    put(self, "%s", self->has_more ? "," : "");
    self->has_more = true;
}

/* Calls f for each code and effect of which there were failures. */
static void put_failures(text *self, kw_client *client)
{
    bool is_json = self->format == KW_STATS_JSON;
    put(self, "%s",
        is_json ? ",\"failed\":["
                : "# HELP keyway_failed_total calls without a reply, by code and effect\n"
                  "# TYPE keyway_failed_total counter\n");
    self->has_more = false;
    for (int number = 0; number < KW_COUNTED_CODES_N; number++) {
        for (int effect = 0; effect < KW_COUNTED_EFFECTS_N; effect++) {
            kw_err code = (kw_err)-number;
            uint64_t n = kw_client_failures(client, code, (kw_effect)effect);
            if (n > 0 && is_json) {
                put_comma(self);
            }
            if (n > 0) {
                put(self,
                    is_json ? "{\"code\":\"%s\",\"effect\":\"%s\",\"calls\":%" PRIu64 "}"
                            : "keyway_failed_total{code=\"%s\",effect=\"%s\"} %" PRIu64 "\n",
                    kw_err_name(code), kw_effect_name((kw_effect)effect), n);
            }
        }
    }
    put(self, "%s", is_json ? "]" : "");
}

static void put_labels(text *self, const kw_node_stats *node)
{
    put(self, "node=\"");
    put_escaped(self, node->node, strlen(node->node));
    put(self, "\",role=\"%s\"", node->is_primary ? "primary" : "replica");
    if (node->member_len > 0) {
        put(self, ",member=\"");
        put_escaped(self, node->member, node->member_len);
        put(self, "\"");
    }
}

static const char *const part_names[KW_LATENCY_PARTS_N] = {"queue", "service"};

/* The buckets that Prometheus is told of end at powers of two, in nanoseconds: 16 us to 17 s. */
#define FIRST_BOUND (UINT64_C(1) << 14)
#define LAST_BOUND  (UINT64_C(1) << 34)

static void put_histogram(text *self, const kw_node_stats *node, const kw_latency *latency,
                          const char *label)
{
    uint64_t n = 0;
    uint64_t told_ns = FIRST_BOUND;
    for (size_t i = 0; i < KW_LATENCY_BUCKETS_N && told_ns <= LAST_BOUND; i++) {
        n += latency->counts[i];
        if (kw_latency_bound(i) == told_ns) {
            put(self, "keyway_latency_seconds_bucket{");
            put_labels(self, node);
            put(self, ",%s,le=\"", label);
            put_seconds(self, told_ns);
            put(self, "\"} %" PRIu64 "\n", n);
            told_ns *= 2;
        }
    }
    put(self, "keyway_latency_seconds_bucket{");
    put_labels(self, node);
    put(self, ",%s,le=\"+Inf\"} %" PRIu64 "\nkeyway_latency_seconds_sum{", label, latency->calls);
    put_labels(self, node);
    put(self, ",%s} ", label);
    put_seconds(self, latency->sum_ns);
    put(self, "\nkeyway_latency_seconds_count{");
    put_labels(self, node);
    put(self, ",%s} %" PRIu64 "\n", label, latency->calls);
}

static void put_latencies(text *self, kw_client *client, const kw_node_stats *node, size_t index)
{
    kw_latency latency = {.size = sizeof(latency)};
    self->has_more = false;
    for (size_t i = 0; i < KW_LATENCY_PARTS_N * (size_t)KW_COMMAND_CLASSES_N; i++) {
        kw_latency_part part = (kw_latency_part)(i / KW_COMMAND_CLASSES_N);
        kw_command_class of = (kw_command_class)(i % KW_COMMAND_CLASSES_N);
        if (kw_client_latency(client, &latency, index, part, of) != KW_OK || latency.calls == 0) {
            continue;
        }
        if (self->format == KW_STATS_PROMETHEUS) {
            char label[48];
            snprintf(label, sizeof(label), "part=\"%s\",class=\"%s\"", part_names[part],
                     kw_command_class_name(of));
            put_histogram(self, node, &latency, label);
            continue;
        }
        put_comma(self);
        put(self,
            "{\"part\":\"%s\",\"class\":\"%s\",\"calls\":%" PRIu64 ",\"sum_ns\":%" PRIu64
            ",\"p50_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64 ",\"p999_ns\":%" PRIu64 "}",
            part_names[part], kw_command_class_name(of), latency.calls, latency.sum_ns,
            kw_latency_quantile(&latency, 0.5), kw_latency_quantile(&latency, 0.99),
            kw_latency_quantile(&latency, 0.999));
    }
}

/* Figures of all nodes, in memory of the handle's; false when there is none. */
static bool read_nodes(text *self, kw_client *client, size_t nodes_n)
{
    size_t room = nodes_n + 16; /* some may come meanwhile */
    self->nodes = kw_mem_calloc(&client->topology->env.mem, room, sizeof(self->nodes[0]));
    if (self->nodes == NULL) {
        return false;
    }
    for (; self->nodes_n < room; self->nodes_n++) {
        kw_node_stats *node = &self->nodes[self->nodes_n];
        node->size = sizeof(*node);
        if (kw_client_node_stats(client, node, self->nodes_n) != KW_OK) {
            break;
        }
    }
    return true;
}

static bool is_told(const kw_node_stats *node, const figure *of)
{
    return node->has_lag || strncmp(of->name, "lag_", 4) != 0;
}

static void put_nodes_prometheus(text *self, kw_client *client)
{
    for (size_t i = 0; i < N(node_figures); i++) {
        const figure *of = &node_figures[i];
        put_head(self, "node_", of);
        for (size_t at = 0; at < self->nodes_n; at++) {
            const kw_node_stats *node = &self->nodes[at];
            if (is_told(node, of)) {
                put_name(self, "node_", of);
                put(self, "{");
                put_labels(self, node);
                put(self, "} ");
                put_value(self, node, of);
                put(self, "\n");
            }
        }
    }
    put(self, "# HELP keyway_node_up 0 while the node is down\n# TYPE keyway_node_up gauge\n");
    for (size_t at = 0; at < self->nodes_n; at++) {
        put(self, "keyway_node_up{");
        put_labels(self, &self->nodes[at]);
        put(self, "} %d\n", self->nodes[at].is_down ? 0 : 1);
    }
    put(self, "# HELP keyway_latency_seconds time of commands at a node\n"
              "# TYPE keyway_latency_seconds histogram\n");
    for (size_t at = 0; at < self->nodes_n; at++) {
        put_latencies(self, client, &self->nodes[at], at);
    }
}

static void put_nodes_json(text *self, kw_client *client)
{
    put(self, ",\"nodes_list\":[");
    for (size_t at = 0; at < self->nodes_n; at++) {
        const kw_node_stats *node = &self->nodes[at];
        put(self, "%s{\"node\":\"", at > 0 ? "," : "");
        put_escaped(self, node->node, strlen(node->node));
        put(self, "\",\"member\":\"");
        put_escaped(self, node->member, node->member_len);
        put(self, "\",\"primary\":\"");
        put_escaped(self, node->primary, strlen(node->primary));
        put(self, "\",\"is_primary\":%s,\"is_failing\":%s,\"is_down\":%s",
            node->is_primary ? "true" : "false", node->is_failing ? "true" : "false",
            node->is_down ? "true" : "false");
        put(self, ",\"weight\":%" PRIu32 ",\"share\":", node->weight);
        put_fraction(self, (uint64_t)(node->share * 1e6 + 0.5), 1000000, 6);
        for (size_t i = 0; i < N(node_figures); i++) {
            if (is_told(node, &node_figures[i])) {
                put(self, ",\"%s\":%" PRIu64, node_figures[i].name,
                    value_of(node, &node_figures[i]));
            }
        }
        put(self, ",\"latency\":[");
        put_latencies(self, client, node, at);
        put(self, "]}");
    }
    put(self, "]}");
}

size_t kw_stats_text(kw_client *client, char *out, size_t out_len, kw_stats_format format)
{
    kw_stats stats = {.size = sizeof(stats)};
    bool is_known = format == KW_STATS_PROMETHEUS || format == KW_STATS_JSON;
    if (!is_known || (out == NULL && out_len > 0) || kw_client_stats(client, &stats) != KW_OK) {
        return 0;
    }
    text self = {.at = out, .room = out_len, .format = format};
    if (!read_nodes(&self, client, (size_t)stats.nodes)) {
        return 0;
    }
    for (size_t i = 0; i < N(figures); i++) {
        if (format == KW_STATS_JSON) {
            put(&self, "%s\"%s\":%" PRIu64, i > 0 ? "," : "{", figures[i].name,
                value_of(&stats, &figures[i]));
            continue;
        }
        put_head(&self, "", &figures[i]);
        put_name(&self, "", &figures[i]);
        put(&self, " ");
        put_value(&self, &stats, &figures[i]);
        put(&self, "\n");
    }
    put_failures(&self, client);
    if (format == KW_STATS_JSON) {
        put_nodes_json(&self, client);
    } else {
        put_nodes_prometheus(&self, client);
    }
    kw_mem_free(&client->topology->env.mem, self.nodes);
    return self.len;
}
