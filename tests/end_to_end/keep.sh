# Runs a command and ends it, with all that it started, and deletes the folder $1 (none if empty), as soon
# as the standard input is closed: by the test, or by the system when the process of the test ends, in
# whatever way that happens. The shell leads the process group; `trap` keeps it alive until the others
# have ended. Used by worker.rs and by www/e2e/harness/worker.ts.
folder=$1
shift
(
    trap : TERM
    "$@" </dev/null
    echo "wrangler ended with status $?"
) &
wrangler=$!
cat >/dev/null
trap '' TERM
kill -TERM 0
attempts=0
while kill -0 "$wrangler" 2>/dev/null && [ "$attempts" -lt 50 ]; do
    sleep 0.1
    attempts=$((attempts + 1))
done
if [ -n "$folder" ]; then
    rm -rf -- "$folder"
fi
kill -KILL 0
