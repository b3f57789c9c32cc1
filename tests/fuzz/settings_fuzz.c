/* SPDX-License-Identifier: Apache-2.0 */
/* Settings from the control table or a PUT: "name=value". */
#include "events/settings.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(settings)
{
    struct settings settings;
    struct span value = fuzz_text(data, size);
    struct span name = span_cut(&value, '=');
    settings_init(&settings);
    bool accepted = settings_set(&settings, name, value) == SETTINGS_OK;
    for (int i = 0; i < SETTING_COUNT; i++) {
        int64_t is = settings_get(&settings, (enum setting)i);
        CHECK(!accepted || (is >= setting_infos[i].min && is <= setting_infos[i].max));
    }
    return 0;
}
