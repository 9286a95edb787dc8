# What a Harbor task's tests run like: from the work folder, with the reward that they write as the verdict.
rm -f /logs/verifier/reward.txt
/tests/test.sh
case "$(cat /logs/verifier/reward.txt 2>/dev/null)" in
1 | 1.0) exit 0 ;;
*) exit 1 ;;
esac
