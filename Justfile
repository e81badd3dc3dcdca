# `just` lists what there is. Tests and demo work without just: `ci`, `test`, `check` are parts of scripts/test.

target := env_var_or_default("CARGO_TARGET_DIR", "target")

[private]
list:
    @just --list --unsorted

[private]
binaries:
    @cargo build --quiet --locked -p ketch -p spec-conformance --bins

# Build ketch and show what it does (scripts/demo)
demo:
    scripts/demo

# All tests (root)
test:
    scripts/test test

# Format and lints
check:
    scripts/test check

# Rewrite the golden plans and findings; read the diff before you commit it
golden:
    UPDATE=1 cargo test --locked -p libcontainer --test golden --test bad

# Rewrite docs/spec-status.md from the names of the tests
status:
    UPDATE=1 cargo test --locked -p integration-tests --test spec_status

# Rewrite the manual page's lists of flags and the completions
pages:
    UPDATE=1 cargo test --locked -p ketch pages::

# Rewrite the numbers of system calls from the libseccomp that is installed
syscalls:
    UPDATE=1 cargo test --locked -p libcontainer --lib s10_the_table

# Print the plan for a bundle
plan DIR=".": binaries
    {{ target }}/debug/ketch plan --bundle {{ DIR }}

# Build the binary to install, and say where it is
release:
    @scripts/release

# Time ketch beside the peers in $PEERS or PATH, and a floor (root); try --help
bench *ARGS:
    cargo build --quiet --locked --release -p integration-tests --bins && KETCH=${KETCH:-$(scripts/release)} {{ target }}/release/bench {{ ARGS }}

# Measure ketch and the peers in $PEERS or PATH, and rewrite docs/conformance (root)
compare *NAMES:
    scripts/compare {{ NAMES }}

# Conformance of ketch, clause by clause (root)
conformance:
    scripts/test conformance

# Debian's containerd, Docker, Podman and Buildah with ketch, and with the peers in $PEERS or of Debian (root)
clients:
    scripts/test clients

# Integration tests in a virtual machine; $VM is a program that takes --share DIR -- COMMAND
vm:
    scripts/vm

# The property tests with many more cases
property:
    PROPTEST_CASES=20000 cargo test --locked -p libcontainer --test property

# Compile odd configs for a time, or until one panics or breaks a promise; installs cargo-fuzz (nightly)
fuzz SECONDS="600" *ARGS:
    @cargo +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
    @cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
    @mkdir -p fuzz/corpus/plan
    LIBSECCOMP_LIB_PATH="$(dirname "$(cc -print-file-name=libseccomp.a)")" cargo +nightly fuzz run --sanitizer none plan fuzz/corpus/plan libcontainer/tests/plans libcontainer/tests/bad -- -max_total_time={{ SECONDS }} -max_len=4096 {{ ARGS }}

# Exactly what continuous integration runs (root)
ci:
    .ci/run
