# Shared by the scripts in this folder: where the checkout is, and how a step and a failure look.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv

# Another environment's settings must not leak into ours, nor keep bytecode from being written.
unset PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV

die() { # MESSAGE [REMEDY]
    echo "Error: $1" >&2
    [[ -z ${2-} ]] || echo "$2" >&2
    exit 1
}

# For a script that takes one option or none: with --help its head is shown, and nothing is done; another is refused.
takes() { # OPTION-OR-NOTHING ARGUMENTS...
    local known=$1
    shift
    case ${1-} in
        '' | "$known") ;;
        -h | --help)
            sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p;}' "$0"
            exit
            ;;
        *) die "unknown option: $1" "Use: scripts/${0##*/}${known:+ [$known]}" ;;
    esac
}

now_ms() {
    local now=${EPOCHREALTIME:-$SECONDS.000000} # bash before 5.0 counts whole seconds
    now=${now/[.,]/}
    echo $((10#$now / 1000))
}

seconds_since() { # START, in milliseconds
    local ms=$(($(now_ms) - $1))
    printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}
