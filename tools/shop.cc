#include "tools/shop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "features/key.h"

namespace shrike::tools {
namespace {

constexpr int64_t kDayS = 86'400;
constexpr int kCategories = 12;
constexpr double kPlaces[Visit::kOffers] = {1, 0.6, 0.36, 0.22, 0.13, 0.08};  // how much a place is looked at
constexpr double kBase = 0.3;         // chance of a click where all else is 1
constexpr double kOtherTaste = 0.25;  // of what is no favourite
constexpr double kOnMobile = 0.8;
constexpr double kBuys = 0.15;  // of clicks

double unit(uint64_t dice) { return static_cast<double>(features::scramble(dice) >> 11) * 0x1p-53; }

// Dear things please before the change, cheap ones after it; on average both alike.
double of_price(double dearness, bool changed) {
  return changed ? 1.8 - 1.6 * dearness : 0.2 + 1.6 * dearness;
}

}  // namespace

Shop::Shop(const ShopOptions& options)
    : options_(options), random_(options.seed ^ 0x5409ull), by_category_(kCategories) {
  Random world(options.seed ^ 0x0FFE12ull);
  for (int64_t i = 0; i < std::max(options.items, kCategories); ++i) {
    Item item;
    item.category = static_cast<int>(i) % kCategories;  // each has some
    item.dearness = world.uniform();
    item.price_cents = std::llround(500 * std::pow(40.0, item.dearness));  // 5 to 200
    item.appeal = world.uniform(0.6, 1.4);
    by_category_[static_cast<size_t>(item.category)].push_back(i);
    items_.push_back(item);
  }
  for (int v = 0; v < options.visitors; ++v) {
    Visitor visitor;
    visitor.favourites[0] = static_cast<int>(world.below(kCategories));
    visitor.favourites[1] = (visitor.favourites[0] + 1 + static_cast<int>(world.below(4))) % kCategories;
    visitor.changes = world.below(2) == 0;
    visitor.mobile = world.below(2) == 0;
    visitors_.push_back(visitor);
  }
}

bool Shop::is_changed(int64_t time_s) const {
  return options_.change_day >= 0 && time_s >= options_.change_day * kDayS;
}

double Shop::taste(const Visitor& visitor, int category, bool changed) const {
  const int before = changed && visitor.changes ? (category + kCategories / 2) % kCategories : category;
  return before == visitor.favourites[0] || before == visitor.favourites[1] ? 1 : kOtherTaste;
}

double Shop::chance(const Visitor& visitor, const Item& item, bool changed) const {
  return kBase * taste(visitor, item.category, changed) * item.appeal * of_price(item.dearness, changed) *
         (visitor.mobile ? kOnMobile : 1);
}

// Half of the offers are of what the shop takes for the visitor's favourites; what appeals to all comes
// first.
void Shop::pick(Visit& visit) {
  const Visitor& visitor = visitors_[static_cast<size_t>(visit.visitor)];
  std::vector<std::pair<double, int64_t>> chosen;
  while (chosen.size() < Visit::kOffers) {
    const bool known = chosen.size() < Visit::kOffers / 2;
    const auto& from = by_category_[known ? static_cast<size_t>(visitor.favourites[random_.below(2)])
                                          : static_cast<size_t>(random_.below(kCategories))];
    const int64_t item = from[random_.below(from.size())];
    const bool again =
        std::any_of(chosen.begin(), chosen.end(), [&](const auto& one) { return one.second == item; });
    if (again) continue;
    const double guess = items_[static_cast<size_t>(item)].appeal * random_.uniform(0.7, 1.3);
    chosen.emplace_back(-guess, item);
  }
  std::sort(chosen.begin(), chosen.end());
  for (size_t i = 0; i < Visit::kOffers; ++i) {
    const Item& item = items_[static_cast<size_t>(chosen[i].second)];
    visit.offers[i] = {chosen[i].second, item.category, item.price_cents};
  }
}

bool Shop::next_day(std::vector<Visit>& out) {
  out.clear();
  if (day_ >= options_.days) return false;
  for (size_t v = 0; v < visitors_.size(); ++v) {
    const int visits = random_.poisson(options_.visits_per_day);
    for (int i = 0; i < visits; ++i) {
      Visit visit;
      visit.time_s = day_ * kDayS + static_cast<int64_t>(random_.below(kDayS));
      visit.visitor = static_cast<int64_t>(v);
      visit.mobile = visitors_[v].mobile;
      pick(visit);
      out.push_back(visit);
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.time_s < b.time_s; });
  for (Visit& visit : out) visit.id = next_id_++;
  ++day_;
  return true;
}

// The same draw whatever the place: who clicks an offer further down would have clicked it higher up.
Reaction Shop::react(const Visit& visit, size_t offer, size_t place) const {
  const Item& item = items_[static_cast<size_t>(visit.offers[offer].item)];
  const double p = chance(visitors_[static_cast<size_t>(visit.visitor)], item, is_changed(visit.time_s));
  const uint64_t dice = features::scramble(options_.seed ^ static_cast<uint64_t>(visit.impression(offer)));
  Reaction reaction;
  reaction.clicked = unit(dice) < p * kPlaces[place];
  reaction.bought = reaction.clicked && unit(dice ^ 1) < kBuys;
  reaction.clicked_after_s = 5 + static_cast<int64_t>(115 * unit(dice ^ 2));
  reaction.bought_after_s = reaction.clicked_after_s + 600 + static_cast<int64_t>(1800 * unit(dice ^ 3));
  return reaction;
}

namespace {

std::string_view device(const Visit& visit) { return visit.mobile ? "mobile" : "desktop"; }

}  // namespace

std::string impression_json(const Visit& visit, size_t offer) {
  const Offer& shown = visit.offers[offer];
  return fmt::format(
      R"({{"impression_id":{},"time":{},"visitor":{},"item":{},"category":"c{}","price":{},"device":"{}","rank":{}}})",
      visit.impression(offer), visit.time_s, visit.visitor, shown.item, shown.category,
      format_amount(shown.price_cents), device(visit), offer + 1);
}

tl::expected<uint64_t, std::string> write_shop_csv(const std::string& path, const ShopOptions& options,
                                                   const std::function<void(double, uint64_t)>& progress) {
  Shop shop(options);
  std::vector<Visit> day;
  uint64_t rows = 0;
  int days = 0;
  const auto written = write_text(
      path, "impression_id,time,visitor,item,category,price,device,rank,clicked\n", [&](std::string& text) {
        if (!shop.next_day(day)) return false;
        for (const Visit& visit : day) {
          for (size_t i = 0; i < Visit::kOffers; ++i) {
            const Offer& offer = visit.offers[i];
            fmt::format_to(std::back_inserter(text), "{},{},{},{},c{},{},{},{},{}\n", visit.impression(i),
                           visit.time_s, visit.visitor, offer.item, offer.category,
                           format_amount(offer.price_cents), device(visit), i + 1,
                           shop.react(visit, i, i).clicked ? 1 : 0);
          }
          rows += Visit::kOffers;
        }
        if (progress) progress(static_cast<double>(++days) / options.days, rows);
        return true;
      });
  if (!written) return tl::make_unexpected(written.error());
  return rows;
}

}  // namespace shrike::tools
