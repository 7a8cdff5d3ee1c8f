# For Doxygen, which wants comments marked: ours are plain. A header's first comment is the file's; one above a
# declaration is its own; one behind it too, and goes on below as long as it begins in the same column.
{
  line = $0
  at = index(line, "//")
  before = substr(line, 1, at - 1)
  if (at == 0 || line ~ /"[^"]*\/\/[^"]*"/) {
    behind = 0
  } else if (before ~ /^ *$/) {
    if (behind == at) {
      sub(/\/\//, "///<", line)
    } else {
      behind = 0
      sub(/\/\//, NR == 1 ? "/// @file\n///" : "///", line)
    }
  } else if (before ~ /[;,})] *$/ || before ~ /[A-Za-z0-9_] *$/) {
    behind = at
    sub(/\/\//, "///<", line)
  }
  print line
}
