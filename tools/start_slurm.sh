#!/usr/bin/env bash
# Starts Slurm with two nodes on this machine, reachable from here alone but without passwords, and prints how to reach and how to stop it.
# Use: eval "$(tools/start_slurm.sh)"; make test-all; eval "$STOP_SLURM"
set -euo pipefail
export PATH="$PATH:/usr/sbin"
stop() { # the jobs first, whose processes would outlive their node's daemon
  scancel -u "$(id -un)" 2> /dev/null || true
  for _ in {1..20}; do
    [ -z "$(squeue -h 2> /dev/null)" ] && break
    sleep 0.5
  done
  for file in "$folder"/*.pid; do
    [ -e "$file" ] && kill "$(cat "$file")"
  done
  for _ in {1..20}; do
    ls "$folder"/*.pid > /dev/null 2>&1 || break
    sleep 0.5
  done
  rm -rf "$folder"
}
if [ "${1:-}" = stop ]; then
  folder="$2"
  export SLURM_CONF="$folder/slurm.conf"
  stop
  exit
fi
folder="$(mktemp -d)"
exec 3>&2
trap 'sleep 2; tail -n 5 "$folder/log" "$folder"/*.log >&3; stop' EXIT # after the daemons have written their files
mkdir "$folder/state" "$folder/node1" "$folder/node2"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
cores="$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)"
memory="$(($(awk '/^MemTotal/ {print $2}' /proc/meminfo) / 1024 / 2))"
export SLURM_CONF="$folder/slurm.conf"
cat > "$SLURM_CONF" << END
ClusterName=tests
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$(port)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
MpiDefault=none
ReturnToService=2
SlurmdTimeout=15
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/controller.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/controller.log
SlurmdLogFile=$folder/%n.log
NodeName=node1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$(port) CPUs=$cores RealMemory=$memory
NodeName=node2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$(port) CPUs=$cores RealMemory=$memory
PartitionName=all Nodes=node1,node2 Default=YES
END
{
  slurmctld
  slurmd -N node1
  slurmd -N node2
  for _ in {1..60}; do
    [ "$(sinfo -h -N -t idle | wc -l)" = 2 ] && break
    sleep 0.5
  done
  sinfo -h -N -t idle | grep -q node2
} > "$folder/log" 2>&1
trap - EXIT
echo "export SLURM_CONF='$SLURM_CONF'"
echo "STOP_SLURM='$(realpath "$0") stop $folder; unset SLURM_CONF'"
