#!/bin/sh
# Says what this Jetson has and lacks; `sh install.sh --install` installs from apt what is lacking.
#
# One script for every JetPack and no Dockerfiles: JetPack brings all that is needed in the system's own packages, while
# its images weigh gigabytes, differ with each release, and need extra mounts for TensorRT and for CSI cameras.
set -eu

release_file=/etc/nv_tegra_release
packages=""

# JetPack by the release of Jetson Linux: "# R32 (release), REVISION: 7.1, ..."
if [ -r "$release_file" ]; then
    release=$(sed -n 's/^# R\([0-9]*\) .*REVISION: \([0-9.]*\).*/\1.\2/p' "$release_file" | head -n 1)
    case "$release" in
        32.7.*) jetpack="4.6.1 or a later 4.6, TensorRT 8.2" ;;
        35.1.*) jetpack="5.0.2, TensorRT 8.4" ;;
        35.*) jetpack="5.1, TensorRT 8.5" ;;
        36.3.*) jetpack="6.0, TensorRT 8.6" ;;
        36.*) jetpack="6.1 or 6.2, TensorRT 10.3" ;;
        38.* | 39.*) jetpack="7" ;;
        *) jetpack="one that these scripts do not know" ;;
    esac
    echo "Jetson Linux $release: JetPack $jetpack"
    case "$release" in
        2* | 32.[0-6].*)
            echo "error: TensorRT is older than 8.2. Flash JetPack 4.6.1 or newer." >&2
            exit 1
            ;;
    esac
else
    echo "No $release_file: not a Jetson, or a container."
fi

# has MODULE PACKAGE NEED: tells the version of a Python module, or notes the apt package that brings it.
has() {
    if version=$(python3 -c "import $1; print($1.__version__)" 2>/dev/null); then
        echo "  $1 $version"
    else
        echo "  $1 is missing: $3"
        packages="$packages $2"
    fi
}

# JetPack's OpenCV reads CSI cameras through GStreamer; Ubuntu's is the second choice.
opencv=python3-opencv
if apt-cache show libopencv-python >/dev/null 2>&1; then opencv=libopencv-python; fi

python3 --version
has numpy python3-numpy "needed"
has tensorrt python3-libnvinfer "needed"
has PIL python3-pil "reads and writes pictures"
has cv2 "$opencv" "videos and cameras"

if ls /usr/local/cuda/lib64/libcudart.so* >/dev/null 2>&1 || ldconfig -p 2>/dev/null | grep -q libcudart; then
    echo "  CUDA runtime"
else
    echo "  CUDA runtime is missing: needed"
    packages="$packages nvidia-jetpack"
fi

if [ -z "$packages" ]; then
    echo "Nothing is missing."
elif [ "${1:-}" = "--install" ]; then
    sudo apt-get update
    # shellcheck disable=SC2086
    sudo apt-get install -y $packages
else
    echo "To install it: sh install.sh --install, which runs: sudo apt-get install -y$packages"
    exit 1
fi
