"""Other programs of a machine, and clients that want nothing: they look into files, prepare names, sit on places, write errors."""
import json
import os
import socket
import stat

from rig import Agent, Collector, Rig, attack, expect, figure, held, is_control, main, run, wait

CONNECT = bytes([0x10, 13, 0, 4, 77, 81, 84, 84, 5, 2, 0, 0, 0, 0, 0])


def open_to_others(folder):
    """What below a folder somebody else could read or write; a socket's mode is a setting, as producers are others."""
    paths = [os.path.join(at, name) for at, folders, files in os.walk(folder) for name in folders + files] + [folder]
    modes = [(path, os.lstat(path).st_mode) for path in paths]
    return [path for path, mode in modes if not stat.S_ISSOCK(mode) and mode & 0o077]


def body(rig: Rig):
    noisy = "echo 'cannot open /dev/ttyS9' >&2; while :; do printf '\\033[2J\\033]0;owned\\007noise\\n' >&2; done"
    collector = Collector(rig).start()
    agent = Agent(rig, collector.mqtt, extra=f"[intake.socket]\nconnections_max = 4\n"
                  f'[[intake.exec]]\nname = "noisy"\ncommand = ["sh", "-c", {json.dumps(noisy)}]\n').start()
    agent.break_down("E", 1)
    agent.wait_delivered()

    attack("Clients without a name connect to the collector, and ask for no keep-alive.")
    expect("Nobody minds, for now.")
    nameless = [socket.create_connection(("127.0.0.1", collector.mqtt), 90) for _ in range(500)]
    for client in nameless:
        client.sendall(CONNECT)
    held(all(client.recv(1) for client in nameless), "500 of them are let in")

    attack("Another user of the machine looks into the data directories.")
    expect("All of them is for its owner alone.")
    for folder in (agent.data, collector.data):
        held(not open_to_others(folder), f"nothing in {os.path.basename(folder)} is open to others", open_to_others(folder))
    is_control(open_to_others(rig.write("beside", "x")), "what this script wrote beside them is")

    attack("Where the lock of a new data directory will be, somebody puts a link to another file.")
    expect("The start is refused with the reason; the other file stays as it is.")
    victim = rig.write("victim", "dear")
    other = Agent(rig, collector.mqtt, name="press-89")
    os.makedirs(other.data)
    os.symlink(victim, os.path.join(other.data, "lock"))
    config = rig.write("other.toml", f'[agent]\nname = "press-89"\ndata_dir = "{other.data}"\n'
                       f'[ship]\nurl = "mqtt://127.0.0.1:{collector.mqtt}"\n')
    code, words = run("agent", "run", "--config", config)
    held(code != 0 and "symbolic link" in words, f"exit code {code}: {words.strip().splitlines()[-1][:120]}", words)
    with open(victim, encoding="utf-8") as file:
        held(file.read() == "dear", "the other file is as it was")

    attack("A child of the agent writes escape sequences to its standard error, as fast as it can.")
    expect("Sixty lines a minute of it are logged, without anything that a terminal obeys.")
    wait("its first minute is used up", lambda: agent.said().count("noise") >= 50)
    agent.break_down("F", 1)
    agent.wait_delivered()
    said = agent.said()
    held(said.count("noise") <= 240 and "\x1b" not in said, f"{said.count('noise')} lines, no escape sequence")
    is_control("noisy: cannot open /dev/ttyS9" in said, "what it says first is there")

    attack("Four producers take all places of the socket and say nothing.")
    expect("At first a newcomer is told why it has no place; within some seconds it has that of the longest silent one.")
    wait("no other producer is there", lambda: agent.figure("afferent_socket_connections") == 0)
    silent = [agent.connect() for _ in range(4)]
    wait("all have a place", lambda: agent.figure("afferent_socket_connections") == 4)
    refusal = agent.connect().makefile().readline()
    is_control("connections_max" in refusal, f"all places are taken: {refusal.strip()[:120]}", refusal)

    def newcomer():
        with agent.connect() as producer:
            producer.settimeout(30)
            producer.sendall(b'{"subject":"88-C","type":"breakdown","code":"G0"}\n')
            return "accepted" in producer.makefile().readline()

    wait("a newcomer is heard", newcomer)
    held("needed the connection" in silent[0].makefile().readline(), "it is heard, and one silent producer was told so")
    agent.wait_delivered()

    attack("All the while, the clients without a name have only sat there.")
    expect("What the agent has sent is in the log. They have a minute, which the test of the endpoint waits for.")
    held(figure(collector.get("/metrics")[1], "afferent_connections") >= 1, "the agent has stayed")
    held(collector.codes("F") == ["F0"] and collector.codes("G") == ["G0"], "what came meanwhile is in the log, once")


main(body)
