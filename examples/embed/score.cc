// The same in C++. c++ -std=c++17 score.cc $(pkg-config --cflags --libs shrike)
#include <iostream>
#include <string>

#include <shrike.hpp>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: score CONFIG.toml DATA-DIR\n";
    return 2;
  }
  std::string text;
  shrike::Scorer scorer = shrike::Scorer::open(argv[1], argv[2], text);
  if (!scorer) {
    std::cerr << text << "\n";
    return 1;
  }
  const shrike::Answer answer = scorer.score(
      R"({"transaction_id":2,"time":36060,"customer_id":7,"terminal_id":3,"amount":12.5})", text);
  std::cout << text << "\n";
  if (!answer) return 1;
  std::cout << "probability " << answer.score << "\n";
  const int status =
      scorer.feedback(R"({"transaction_id":2,"is_fraud":0,"source":"analyst","time":90000})", text);
  std::cout << text << "\n";
  return status;
}
