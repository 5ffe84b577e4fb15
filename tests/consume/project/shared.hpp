#pragma once

#include <filesystem>
#include <vector>

/// Defined in other.cpp: writes the values to `path` and says whether they come back.
bool safetensors_from_another_file(const std::filesystem::path& path, const std::vector<float>& values);
