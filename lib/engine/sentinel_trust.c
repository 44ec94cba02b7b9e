/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides whom of a Sentinel group to believe: what is known first, then what the sentinels agree
 * on, and strangers last. */
#include "engine/sentinel_trust.h"

void kw_sentinel_trust_begin(kw_sentinel_trust *trust)
{
    trust->other_n = 0;
    trust->vain_n = 0;
    trust->put_off_n = 0;
    trust->has_kin = false;
    trust->has_stranger = false;
}

kw_sentinel_belief kw_sentinel_trust_weigh(kw_sentinel_trust *trust, const kw_lineage *said)
{
    bool is_other = kw_lineage_kinship(&trust->lineage, said) == KW_KINSHIP_NONE;
    if (is_other && !trust->follows_other) {
        trust->other_n++;
        return KW_SENTINEL_DOUBTED;
    }
    if (is_other) {
        trust->lineage.n = 0;
    }
    kw_lineage_learn(&trust->lineage, said);
    return is_other ? KW_SENTINEL_REPLACED : KW_SENTINEL_BELIEVED;
}

void kw_sentinel_trust_on_failure(kw_sentinel_trust *trust, bool is_other, bool is_suspect)
{
    size_t put_off_n = is_suspect ? trust->put_off_n : 0;
    trust->put_off_n -= put_off_n;
    trust->other_n += is_other ? put_off_n : 0;
    trust->vain_n += is_other ? 0 : put_off_n + 1;
}

void kw_sentinel_trust_on_success(kw_sentinel_trust *trust)
{
    trust->follows_other = false;
    trust->follows_stranger = false;
    trust->rounds_n = 0;
    trust->kin_ns = 0;
}

/* A replica that has the known data waits for its primary to be named, which sentinels do within
 * seconds, where its group lives. */
static bool is_kept_out(kw_sentinel_trust *trust, uint64_t now_ns)
{
    if (!trust->has_kin) {
        trust->kin_ns = 0;
        return false;
    }
    trust->kin_ns = trust->kin_ns != 0 ? trust->kin_ns : now_ns;
    return now_ns < trust->kin_ns + KW_SENTINEL_RELENT_NS;
}

bool kw_sentinel_trust_on_end(kw_sentinel_trust *trust, size_t asked_n, size_t answered_n,
                              bool is_strict, uint64_t now_ns)
{
    bool was_other = trust->follows_other;
    bool was_stranger = trust->follows_stranger;
    bool is_agreed =
        !is_kept_out(trust, now_ns) && trust->other_n > trust->vain_n + trust->put_off_n;
    trust->rounds_n = is_agreed ? trust->rounds_n + 1 : 0;
    size_t needs_n = answered_n >= asked_n ? 1 : KW_LINEAGE_ROUNDS;
    trust->follows_other = was_other || trust->rounds_n >= needs_n;
    trust->follows_stranger =
        was_stranger || (trust->has_stranger && answered_n == 0 && !is_strict);
    return is_agreed || trust->follows_stranger != was_stranger;
}
