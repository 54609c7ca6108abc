#!/bin/sh
# A model CLI that plays an agent of a mission: it finds out what it is asked for, and hands the lines that the test
# wrote for that to the stubborn CLI beside it (see stubborn_cli/stubborn.c), which does them.
#
# The lines for job J (work, fix, review) of issue N are in $STUBBORN_DIR/plans: J-N.T for the T-th task of that sort,
# else J-N, else J. `{item}` in them is how the prompt says that the item is to be named. The prompt is kept in
# told/J-N/TASK. Any other prompt goes to the stubborn CLI as it is.
set -eu
cd "$STUBBORN_DIR"
stubborn=${0%/*}/stubborn
mkdir -p told/other
told=told/other/$$
cat > "$told"
case $(grep -om1 '\[Mission [a-z]*' "$told" || true) in
*work) job=work ;;
*fix) job=fix ;;
*review) job=review ;;
*) exec "$stubborn" < "$told" ;;
esac
number=$(sed -n 's/^Mission [0-9a-f]*, item [0-9]* of [0-9]*: .*#//p' "$told")
item=$(sed -n 's/^ *tt mission approve //p' "$told")
mkdir -p "told/$job-$number"
mv "$told" "told/$job-$number/$TINYTOWN_TASK_ID"
turn=$(ls "told/$job-$number" | wc -l)
for plan in "plans/$job-$number.$turn" "plans/$job-$number" "plans/$job"; do
    [ ! -f "$plan" ] || break
done
sed "s/{item}/$item/" "$plan" > "told/other/$$"
exec "$stubborn" < "told/other/$$"
