# Reads C files and prints what breaks a rule, as "file:line: rule: what to do". Part of tools/tidy. Written for
# mawk, which is what a bare Debian has: no word boundaries, no repetition counts.

BEGIN {
    allow("common", "common")
    allow("events", "events common schema") # schema: the registry of Redis keys
    allow("readmodel", "readmodel events common")
    allow("verify", "verify readmodel events common")
    allow("command-service", "command-service events common")
    allow("projector", "projector verify readmodel events common")
    allow("query-service", "query-service readmodel events common")
    allow("bench", "bench readmodel events common")
    allow("tests", "tests bench readmodel events common")

    own("libpq-fe.h", "common/pg/pg.c")
    own("hiredis", "common/redis/redis.c")
    own("nng", "common/bus.c")
    own("msgpack", "events/codec.c")
    own("jansson", "common/json.c")
    own("sodium", "common/base/crypto.c")
    own("curl", "common/trace.c")
    own("zlib", "common/base/gzip.c")
    plain_headers = " cmocka.h ctype.h dirent.h dlfcn.h endian.h errno.h fcntl.h float.h inttypes.h limits.h malloc.h math.h netdb.h poll.h" \
        " pthread.h sched.h semaphore.h setjmp.h signal.h spawn.h stdalign.h stdarg.h stdatomic.h stdbool.h stddef.h stdint.h" \
        " stdio.h stdlib.h string.h strings.h sysexits.h syslog.h termios.h time.h unistd.h "
    system_folders = " arpa linux net netinet sys "

    ban("strcpy strcat strncpy strncat sprintf vsprintf strtok gets alloca", "common/base/bytes.h has bounded text")
    ban("atoi atol atoll atof strtol strtoul strtoll strtoull strtod sscanf", "parse with parse_u64 and its like (common/base/bytes.h)")
    ban("localtime gmtime ctime asctime", "use common/base/clock.h")
    ban("malloc calloc realloc strdup strndup asprintf vasprintf free", "use common/base/mem.h")
    ban("PQexec", "use prepared statements (common/pg/pg.h)")
    ban("system popen", "tests start programs through tests/lib; services start none")
    split("sleep usleep nanosleep clock_nanosleep thrd_sleep", names, " ")
    for (i in names) sleeps[names[i]] = 1
}

function allow(folder, others,    i, n, list) {
    n = split(others, list, " ")
    for (i = 1; i <= n; i++) allowed[folder, list[i]] = 1
}

function own(library, file) { owner[library] = file; wrapper[file] = 1 }

# The unit test beside a file, which may look at what it made with the library itself.
function test_of(file) { sub(/\.c$/, "_test.c", file); return file }

function ban(functions, hint,    i, n, list) {
    n = split(functions, list, " ")
    for (i = 1; i <= n; i++) banned[list[i]] = hint
}

function complain(rule, what) { printf "%s:%d: %s: %s\n", FILENAME, FNR, rule, what }

FNR == 1 {
    folder = FILENAME
    sub(/\/.*/, "", folder)
    is_header = FILENAME ~ /\.h$/
    is_test = FILENAME ~ /(_test\.c|(_test_kit|\/test_kit|\/testing)\.h)$/ || folder == "tests"
    in_comment = 0
    includes = 0
    if ($0 != "/* SPDX-License-Identifier: Apache-2.0 */")
        complain("licence", "line 1 must be /* SPDX-License-Identifier: Apache-2.0 */")
}

FNR == 2 && $0 !~ /^\/\* *[A-Za-z0-9"]/ { complain("purpose", "line 2 must begin the comment that says what this file is responsible for") }

FNR == 901 { complain("file-length", "more than 900 lines; split the file by responsibility") }

{
    line = $0
    gsub(/[\200-\277]/, "", line) # count characters, not the bytes of UTF-8
    if (length(line) > 110) complain("line-length", "longer than 110 columns; wrap it")
    string_count = 0
    code = strip($0)
    if (code ~ /^[ \t]*#[ \t]*include/) check_include($0)
    else check_code(code)
}

# The line without comments and with empty strings; what was in the strings goes to strings[].
function strip(rest,    out, token, text) {
    out = ""
    while (rest != "") {
        if (in_comment) {
            if (!match(rest, /\*\//)) return out
            rest = substr(rest, RSTART + 2)
            in_comment = 0
            continue
        }
        if (!match(rest, /\/\*|\/\/|"|'/)) return out rest
        token = substr(rest, RSTART, RLENGTH)
        out = out substr(rest, 1, RSTART - 1)
        rest = substr(rest, RSTART + RLENGTH)
        if (token == "//") return out
        if (token == "/*") { in_comment = 1; continue }
        text = ""
        while (rest != "" && substr(rest, 1, 1) != token) {
            if (substr(rest, 1, 1) == "\\") { text = text substr(rest, 1, 1); rest = substr(rest, 2) }
            text = text substr(rest, 1, 1)
            rest = substr(rest, 2)
        }
        rest = substr(rest, 2)
        strings[++string_count] = text
        out = out token token
    }
    return out
}

function check_include(text,    path, part) {
    includes++
    path = text
    if (text ~ /"/) {
        gsub(/^[^"]*"|".*$/, "", path)
        check_own_include(path)
    } else {
        gsub(/^[^<]*<|>.*$/, "", path)
        check_library_include(path)
    }
}

function check_own_include(path,    part, own_header) {
    part = path
    if (!sub(/\/.*/, "", part)) complain("include", "write the path from the root of the project: \"" folder "/" path "\"")
    else if (!((folder, part) in allowed) && !(FILENAME ~ /^tests\/fuzz\// && part ~ /-service$/) && # fuzzing looks inside
             !((folder == "bench" || FILENAME ~ /^tests\/platform\/(plans|store)_test.c$/) && path ~ /^command-service\/(core|store)\/(batch|store|internal)\.h$/)) # what is measured is the service's
        complain("include-direction", folder " must not know " part "; the order is service -> readmodel, verify -> events -> common")
    if (!is_test && FILENAME ~ /^command-service\/core\// && path ~ /^common\/(http|pg|json|redis|bus)/)
        complain("pure-core", "what decides knows neither HTTP nor PostgreSQL nor JSON")
    own_header = FILENAME
    sub(/\.c$/, ".h", own_header)
    if (includes > 1 && !is_header && path == own_header)
        complain("own-header-first", "include \"" path "\" before everything else, so that it proves to be self-contained")
}

function check_library_include(path,    library) {
    if (path == "assert.h") complain("assert", "use CHECK of common/base/check.h, which stays on in release builds")
    if (path == "cmocka.h" && !is_test) complain("third-party", "cmocka belongs to tests")
    for (library in owner)
        if (substr(path, 1, length(library)) == library && FILENAME != owner[library] && FILENAME != test_of(owner[library]))
            complain("third-party", "only " owner[library] " may know " library "; go through its header")
    if (path !~ /\// && index(plain_headers, " " path " ") == 0 && !known_library(path))
        complain("third-party", "<" path "> is neither the C library\047s nor one of the libraries of the design")
    if (path ~ /\// && index(system_folders, " " substr(path, 1, index(path, "/") - 1) " ") == 0 && !known_library(path))
        complain("third-party", "<" path "> is not one of the libraries of the design")
}

function known_library(path,    library) {
    for (library in owner) if (substr(path, 1, length(library)) == library) return 1
    return 0
}

function check_code(code,    i) {
    if (is_header && code ~ /^[ \t]*#[ \t]*(ifndef|define)[ \t]+[A-Z_]+_H_?$/) complain("guard", "use #pragma once")
    if (FILENAME != "common/base/banned.h") check_calls(code)
    if (folder == "common") check_business(code)
    for (i = 1; i <= string_count; i++) check_string(strings[i])
}

function check_calls(code,    name, before) {
    while (match(code, /[A-Za-z_][A-Za-z0-9_]*[ \t]*\(/)) {
        name = substr(code, RSTART, RLENGTH)
        before = RSTART > 2 ? substr(code, RSTART - 2, 2) : ""
        sub(/[ \t]*\($/, "", name)
        code = substr(code, RSTART + RLENGTH)
        if (before == "->" || before ~ /\.$/) continue # a member that happens to have the name
        if ((name in banned) && !exempt(name)) complain("banned", name ": " banned[name])
        if ((name in sleeps) && is_test) complain("sleep", "wait for something that can be observed, with a bound")
    }
}

# mem.c is what the others are sent to; a wrapper has to free what its library allocated, a test what libc did.
function exempt(name) {
    if (name == "free" || name ~ /^strn?dup$/) return is_test || FILENAME == "common/base/mem.c" || FILENAME == "tests/faults/shim.c" || (FILENAME in wrapper)
    if (banned[name] ~ /mem\.h/) return FILENAME == "common/base/mem.c" || FILENAME == "tests/faults/shim.c"
    if (name == "PQexec") return FILENAME == "common/pg/pg.c"
    if (name == "system" || name == "popen") return FILENAME ~ /^tests\/lib\//
    return 0
}

function check_business(code,    i, text) {
    # The names of the scopes are the contract with the outside (design, section 9), and whoever checks keys knows
    # them; nothing is decided by them in common/.
    if (FILENAME ~ /^common\/http\/auth(_test)?\.[ch]$/) gsub(/AUTH_REDEEM/, "", code)
    text = code
    # Names of metrics carry the project's prefix, also those of common/.
    for (i = 1; i <= string_count; i++) if (strings[i] !~ /^coupon_/ && FILENAME !~ /^common\/http\/auth/) text = text " " strings[i]
    if (tolower(text) ~ /coupon|campaign|redeem|ranking/)
        complain("business-words", "common/ must not know what it is used for; move this to events/ or a service")
}

# For the documentation check of tools/tidy: not a violation, a fact.
function check_string(text) {
    if (!is_test && folder != "bench" && text ~ /^coupon_[a-z0-9_]+$/) printf "METRIC %s %s:%d\n", text, FILENAME, FNR
}
