#include "engine/shared_prefixes.h"

#include <algorithm>
#include <span>
#include <unordered_map>

namespace octavo {
namespace {

constexpr int64_t kLeastTokensSaved = 28 << 10;

}  // namespace

std::vector<SharedPrefix> find_shared_prefixes(const BatchPlan& plan, size_t cache_group,
                                               int decode_rows, int block_size, int most) {
  const PlanBlockTable& table = plan.tables[cache_group];
  const auto blocks_of = [&](int32_t row) {
    return std::span(table.blocks)
        .subspan(static_cast<size_t>(table.begin[row]),
                 static_cast<size_t>(table.begin[row + 1] - table.begin[row]));
  };
  std::vector<SharedPrefix> groups;
  std::unordered_map<int32_t, size_t> group_of;  // by first block
  std::vector<size_t> common;                    // blocks, of each group
  for (int32_t row = 0; row < decode_rows; ++row) {
    const std::span<const int32_t> blocks = blocks_of(row);
    // The row's own token is not part of a prefix.
    const auto usable = static_cast<size_t>(plan.rows[row].start / block_size);
    if (usable == 0 || blocks[0] < 0) continue;
    const auto [place, is_new] = group_of.try_emplace(blocks[0], groups.size());
    if (is_new) {
      groups.push_back({0, {row}});
      common.push_back(usable);
      continue;
    }
    SharedPrefix& group = groups[place->second];
    size_t& length = common[place->second];
    length = std::min(length, usable);
    const std::span<const int32_t> first = blocks_of(group.rows[0]).first(length);
    length = static_cast<size_t>(std::mismatch(first.begin(), first.end(), blocks.begin()).first -
                                 first.begin());
    group.rows.push_back(row);
  }
  const auto saved = [](const SharedPrefix& g) {
    return int64_t{g.tokens} * static_cast<int64_t>(g.rows.size() - 1);
  };
  for (size_t i = 0; i < groups.size(); ++i)
    groups[i].tokens = static_cast<int>(common[i]) * block_size;
  std::erase_if(groups, [&](const SharedPrefix& g) { return saved(g) < kLeastTokensSaved; });
  std::stable_sort(groups.begin(), groups.end(), [&](const SharedPrefix& a, const SharedPrefix& b) {
    return saved(a) > saved(b);
  });
  if (static_cast<int>(groups.size()) > most) groups.resize(static_cast<size_t>(most));
  return groups;
}

}  // namespace octavo
