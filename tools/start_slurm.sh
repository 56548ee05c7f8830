#!/usr/bin/env bash
# Starts Slurm with two nodes on this machine, reachable from here alone but without passwords, and prints how to reach and how to stop it.
# Use: eval "$(tools/start_slurm.sh)"; make test-all; eval "$STOP_SLURM"
set -euo pipefail
export PATH="$PATH:/usr/sbin"
folder="$(mktemp -d)"
mkdir "$folder/state" "$folder/node1" "$folder/node2"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
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
NodeName=node1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$(port) CPUs=$(nproc) RealMemory=$memory
NodeName=node2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$(port) CPUs=$(nproc) RealMemory=$memory
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
echo "export SLURM_CONF='$SLURM_CONF'"
echo "STOP_SLURM='kill \$(cat $folder/*.pid); rm -rf $folder'"
