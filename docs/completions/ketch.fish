# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ketch_global_optspecs
    string join \n root= log= log-format= debug log-level= trace= systemd-cgroup cgroup-manager= strict rootless= v/version h/help
end

function __fish_ketch_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ketch_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ketch_using_subcommand
    set -l cmd (__fish_ketch_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ketch -n "__fish_ketch_needs_command" -l root -d 'Directory in which containers are remembered [default: /run/ketch, or $XDG_RUNTIME_DIR/ketch without root]' -r -F
complete -c ketch -n "__fish_ketch_needs_command" -l log -d 'Where log messages go: a file to append to, also as file:PATH, or journald:NAME, or syslog:NAME' -r
complete -c ketch -n "__fish_ketch_needs_command" -l log-format -d 'Form of log messages' -r -f -a "text\t''
json\t''"
complete -c ketch -n "__fish_ketch_needs_command" -l log-level -d 'Least important messages to log [default: error; warning for a text log and a terminal]' -r -f -a "debug\t''
info\t''
warning\t''
error\t''"
complete -c ketch -n "__fish_ketch_needs_command" -l trace -d 'Write a timeline of every step, in both processes, as JSON that trace viewers show' -r -F
complete -c ketch -n "__fish_ketch_needs_command" -l cgroup-manager -d 'Who makes the cgroup; with "disabled" there is none, and no limit can be set' -r -f -a "cgroupfs\t'The runtime itself'
systemd\t'The same as --systemd-cgroup'
disabled\t'Nobody'"
complete -c ketch -n "__fish_ketch_needs_command" -l rootless -d 'Whether this is a runtime without root\'s rights: true, false or auto' -r -f -a "auto\t''
true\t''
false\t''"
complete -c ketch -n "__fish_ketch_needs_command" -l debug -d 'Log what is done, step by step; the same as --log-level debug'
complete -c ketch -n "__fish_ketch_needs_command" -l systemd-cgroup -d 'Let systemd make the cgroup; cgroupsPath is slice:prefix:name then'
complete -c ketch -n "__fish_ketch_needs_command" -l strict -d 'Refuse what is tolerated for the sake of clients and the specification forbids'
complete -c ketch -n "__fish_ketch_needs_command" -s v -l version -d 'Print the version'
complete -c ketch -n "__fish_ketch_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "create" -d 'Create a container from a bundle; its program waits for start'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "start" -d 'Run the program of a created container'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "run" -d 'Create a container, run its program, and wait for it'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "state" -d 'Print the state of a container as JSON'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "kill" -d 'Send a signal to a container\'s first process (TERM unless another is named)'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "delete" -d 'Remove a container'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "list" -d 'List containers'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "exec" -d 'Run one more program in a container'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "ps" -d 'List the processes of a container'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "events" -d 'Tell of a container what it uses, every few seconds, and that its memory ran out, as JSON'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "pause" -d 'Stop the processes of a container where they are'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "resume" -d 'Let the processes of a paused container run'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "update" -d 'Change limits of a container; what is not named stays as it is'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "checkpoint" -d 'Not supported: write the processes of a container to files'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "restore" -d 'Not supported: make a container of such files'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "spec" -d 'Write a config.json to start from'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "features" -d 'Print what this runtime supports as JSON'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "plan" -d 'Print what would be done for a bundle as JSON, and do nothing'
complete -c ketch -n "__fish_ketch_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ketch -n "__fish_ketch_using_subcommand create" -s b -l bundle -d 'The bundle\'s directory' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand create" -s f -l config -d 'File to read instead of the bundle\'s config.json; counts from the working directory' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand create" -l console-socket -d 'Unix socket that gets the master of the program\'s terminal' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand create" -l pidfd-socket -d 'Unix socket that gets a pidfd of the first process' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand create" -l pid-file -d 'File that gets the pid of the first process' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand create" -l preserve-fds -d 'Pass N more file descriptors, from 3 on, to the program' -r
complete -c ketch -n "__fish_ketch_using_subcommand create" -l no-pivot -d 'Do not use pivot_root(2), for a host whose root is an initramfs'
complete -c ketch -n "__fish_ketch_using_subcommand create" -l no-new-keyring -d 'Leave the container in the caller\'s session keyring'
complete -c ketch -n "__fish_ketch_using_subcommand create" -l no-subreaper -d 'Let what a container leaves behind go to this process\'s parent; create does so anyway'
complete -c ketch -n "__fish_ketch_using_subcommand create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand run" -s b -l bundle -d 'The bundle\'s directory' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand run" -s f -l config -d 'File to read instead of the bundle\'s config.json; counts from the working directory' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand run" -l console-socket -d 'Unix socket that gets the master of the program\'s terminal' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand run" -l pidfd-socket -d 'Unix socket that gets a pidfd of the first process' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand run" -l pid-file -d 'File that gets the pid of the first process' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand run" -l preserve-fds -d 'Pass N more file descriptors, from 3 on, to the program' -r
complete -c ketch -n "__fish_ketch_using_subcommand run" -l no-pivot -d 'Do not use pivot_root(2), for a host whose root is an initramfs'
complete -c ketch -n "__fish_ketch_using_subcommand run" -l no-new-keyring -d 'Leave the container in the caller\'s session keyring'
complete -c ketch -n "__fish_ketch_using_subcommand run" -l no-subreaper -d 'Let what a container leaves behind go to this process\'s parent; create does so anyway'
complete -c ketch -n "__fish_ketch_using_subcommand run" -s d -l detach -d 'Do not wait for the program'
complete -c ketch -n "__fish_ketch_using_subcommand run" -l keep -d 'Do not remove the container when its program has ended'
complete -c ketch -n "__fish_ketch_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand state" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand kill" -s a -l all -d 'Send it to all processes of the container'
complete -c ketch -n "__fish_ketch_using_subcommand kill" -s r -l regex -d 'Send it to every container whose id matches: ID is an extended regular expression, see regex(7)'
complete -c ketch -n "__fish_ketch_using_subcommand kill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand delete" -s f -l force -d 'Kill it if it runs; it is no error if there is none'
complete -c ketch -n "__fish_ketch_using_subcommand delete" -s r -l regex -d 'Remove every container whose id matches: ID is an extended regular expression, see regex(7)'
complete -c ketch -n "__fish_ketch_using_subcommand delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand list" -s f -l format -d 'Form of the list' -r -f -a "table\t''
json\t''"
complete -c ketch -n "__fish_ketch_using_subcommand list" -s q -l quiet -d 'Print ids only'
complete -c ketch -n "__fish_ketch_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand exec" -s p -l process -d 'File with the program as the process object of config.json' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand exec" -l console-socket -d 'Unix socket that gets the master of the program\'s terminal' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand exec" -l cwd -d 'Working directory in the container' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand exec" -s e -l env -d 'Add a variable to the environment' -r
complete -c ketch -n "__fish_ketch_using_subcommand exec" -s t -l tty -d 'Give the program a terminal' -r -f -a "true\t''
false\t''"
complete -c ketch -n "__fish_ketch_using_subcommand exec" -s u -l user -d 'Run as this user, and group' -r
complete -c ketch -n "__fish_ketch_using_subcommand exec" -s g -l additional-gids -d 'Add a supplementary group' -r
complete -c ketch -n "__fish_ketch_using_subcommand exec" -l pidfd-socket -d 'Unix socket that gets a pidfd of the program' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand exec" -l pid-file -d 'File that gets the program\'s pid' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand exec" -l process-label -d 'SELinux label of the program' -r
complete -c ketch -n "__fish_ketch_using_subcommand exec" -l apparmor -d 'AppArmor profile of the program' -r
complete -c ketch -n "__fish_ketch_using_subcommand exec" -s c -l cap -d 'Add a capability to the bounding, permitted and effective sets' -r
complete -c ketch -n "__fish_ketch_using_subcommand exec" -l preserve-fds -d 'Pass N more file descriptors, from 3 on, to the program' -r
complete -c ketch -n "__fish_ketch_using_subcommand exec" -l cgroup -d 'Run the program in this cgroup below the container\'s own; with controllers, in their version 1 hierarchies' -r
complete -c ketch -n "__fish_ketch_using_subcommand exec" -s d -l detach -d 'Do not wait for the program'
complete -c ketch -n "__fish_ketch_using_subcommand exec" -l no-new-privs -d 'Set the no_new_privs bit'
complete -c ketch -n "__fish_ketch_using_subcommand exec" -l ignore-paused -d 'Do not refuse a paused container'
complete -c ketch -n "__fish_ketch_using_subcommand exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand ps" -s f -l format -d 'Form of the list' -r -f -a "table\t''
json\t''"
complete -c ketch -n "__fish_ketch_using_subcommand ps" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand events" -l interval -d 'Time from one line of statistics to the next, such as 5s, 100ms or 1m30s' -r
complete -c ketch -n "__fish_ketch_using_subcommand events" -l stats -d 'Print statistics once, and nothing else'
complete -c ketch -n "__fish_ketch_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand update" -s r -l resources -d 'File with the resources object of config.json, - for stdin; device rules in it are ignored. Flags that are given beside it take precedence' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand update" -l memory -d 'Limit of memory; -1 for none' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l memory-swap -d 'Limit of memory and swap together; -1 for none' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l memory-reservation -d 'Memory that is to be left to the container; -1 for all of it' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l kernel-memory -d 'Limit of kernel memory (deprecated; cgroup version 1); -1 for none' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l kernel-memory-tcp -d 'Limit of buffers of TCP (cgroup version 1); -1 for none' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l cpu-share -d 'Weight of the container for the CPUs, 2 to 262144' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l cpu-quota -d 'Time on CPUs in each period, in microseconds; -1 for no limit' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l cpu-period -d 'Period of the quota, in microseconds' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l cpu-burst -d 'Time that may be saved up and used above the quota, in microseconds' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l cpu-rt-period -d 'Period of the real-time limit, in microseconds (cgroup version 1)' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l cpu-rt-runtime -d 'Real time in each period, in microseconds (cgroup version 1)' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l cpu-idle -d '1 for time that nobody else wants, 0 for a share of it' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l cpuset-cpus -d 'CPUs to run on, such as 0-2,7' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l cpuset-mems -d 'Memory nodes to use, such as 0-1' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l pids-limit -d 'Limit of the number of tasks; -1 for none' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l blkio-weight -d 'Weight of the container for block devices, 10 to 1000' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l l3-cache-schema -d 'Share of the level 3 cache, as a line for resctrl: L3:0=ff' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -l mem-bw-schema -d 'Share of memory bandwidth, as a line for resctrl: MB:0=50' -r
complete -c ketch -n "__fish_ketch_using_subcommand update" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l image-path -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l work-path -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l parent-path -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l status-fd -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l page-server -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l manage-cgroups-mode -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l empty-ns -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l leave-running -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l pre-dump -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l tcp-skip-in-flight -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l link-remap -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l tcp-established -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l ext-unix-sk -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l shell-job -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l file-locks -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l network-lock -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l auto-dedup -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -l lazy-pages -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand checkpoint" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l image-path -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l work-path -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l parent-path -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l manage-cgroups-mode -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l empty-ns -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l lsm-profile -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l lsm-mount-context -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand restore" -s b -l bundle -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l console-socket -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l pid-file -d 'Accepted, without effect' -r
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l tcp-established -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l tcp-close -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l ext-unix-sk -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l shell-job -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l file-locks -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l network-lock -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l auto-dedup -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l lazy-pages -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -s d -l detach -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l no-subreaper -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l no-pivot -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -l no-new-keyring -d 'Accepted, without effect'
complete -c ketch -n "__fish_ketch_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand spec" -s b -l bundle -d 'Directory to write it into' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand spec" -s f -l file -d 'File to write, instead of config.json; counts from the bundle\'s directory' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand spec" -l rootless -d 'For a user without root\'s rights'
complete -c ketch -n "__fish_ketch_using_subcommand spec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand features" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand plan" -s b -l bundle -d 'The bundle\'s directory' -r -F
complete -c ketch -n "__fish_ketch_using_subcommand plan" -l steps -d 'Print the steps with their numbers, one a line'
complete -c ketch -n "__fish_ketch_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "create" -d 'Create a container from a bundle; its program waits for start'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "start" -d 'Run the program of a created container'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "run" -d 'Create a container, run its program, and wait for it'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "state" -d 'Print the state of a container as JSON'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "kill" -d 'Send a signal to a container\'s first process (TERM unless another is named)'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "delete" -d 'Remove a container'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "list" -d 'List containers'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "exec" -d 'Run one more program in a container'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "ps" -d 'List the processes of a container'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "events" -d 'Tell of a container what it uses, every few seconds, and that its memory ran out, as JSON'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "pause" -d 'Stop the processes of a container where they are'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "resume" -d 'Let the processes of a paused container run'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "update" -d 'Change limits of a container; what is not named stays as it is'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "checkpoint" -d 'Not supported: write the processes of a container to files'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "restore" -d 'Not supported: make a container of such files'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "spec" -d 'Write a config.json to start from'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "features" -d 'Print what this runtime supports as JSON'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "plan" -d 'Print what would be done for a bundle as JSON, and do nothing'
complete -c ketch -n "__fish_ketch_using_subcommand help; and not __fish_seen_subcommand_from create start run state kill delete list exec ps events pause resume update checkpoint restore spec features plan help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
