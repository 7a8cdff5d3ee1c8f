// A seeded shop: visitors come, each is shown a few offers, clicks some and buys some of those. The shop
// picks the offers by what it knows of each visitor's tastes. From `change_day` on that is no longer so: half
// of the visitors like other categories, and cheap things please where dear ones did. The shop goes on as
// before, so fewer offers are clicked, and what a model has learned of prices is wrong.
//
// In which order the offers of a visit are shown is the caller's: the higher up, the more clicks. What a
// visitor would do is drawn by visit and item, so a better order, and nothing else, gives more clicks. Own
// generator: a seed gives the same visits on every machine. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "tools/simulator.h"

namespace shrike::tools {

struct ShopOptions {
  int days = 30;
  uint64_t seed = 1;
  int visitors = 3000;
  int items = 400;
  double visits_per_day = 0.2;  // of a visitor
  int change_day = -1;          // of tastes; -1: never
};

struct Offer {
  int64_t item = 0;
  int category = 0;
  int64_t price_cents = 0;
};

struct Visit {
  static constexpr size_t kOffers = 6;

  int64_t id = 0;
  int64_t time_s = 0;  // since the first day's midnight
  int64_t visitor = 0;
  bool mobile = false;
  std::array<Offer, kOffers> offers;  // as the shop would show them

  int64_t impression(size_t offer) const {
    return id * static_cast<int64_t>(kOffers) + static_cast<int64_t>(offer);
  }
};

// What becomes of an offer that is shown.
struct Reaction {
  bool clicked = false, bought = false;
  int64_t clicked_after_s = 0, bought_after_s = 0;
};

class Shop {
 public:
  explicit Shop(const ShopOptions& options);

  // The next day's visits in order of time; false when all days are done.
  bool next_day(std::vector<Visit>& out);
  // To an offer of this visit that is shown in this place, 0 the uppermost.
  Reaction react(const Visit& visit, size_t offer, size_t place) const;

 private:
  struct Item {
    int category;
    int64_t price_cents;
    double dearness;  // 0 to 1, of all items
    double appeal;
  };
  struct Visitor {
    std::array<int, 2> favourites;  // as the shop knows them
    bool changes;                   // from the change day on
    bool mobile;
  };

  bool is_changed(int64_t time_s) const;
  double taste(const Visitor& visitor, int category, bool changed) const;
  double chance(const Visitor& visitor, const Item& item, bool changed) const;
  void pick(Visit& visit);

  ShopOptions options_;
  Random random_;
  std::vector<Item> items_;
  std::vector<std::vector<int64_t>> by_category_;
  std::vector<Visitor> visitors_;
  int day_ = 0;
  int64_t next_id_ = 0;
};

// An impression as a JSON request of examples/ecommerce.toml.
std::string impression_json(const Visit& visit, size_t offer);

// Writes impressions in the shop's own order with the schema's columns and the label: impression_id, time,
// visitor, item, category, price, device, rank, clicked. gz when the path ends in .gz.
tl::expected<uint64_t, std::string> write_shop_csv(const std::string& path, const ShopOptions& options,
                                                   const std::function<void(double, uint64_t)>& progress);

}  // namespace shrike::tools
