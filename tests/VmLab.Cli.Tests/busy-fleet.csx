#r "nuget: VmLab, 0.1.0"
using VmLab;

// Four Debian machines under network traffic, disk writes and faults: `whole MOMENT FOLDER ROUNDS` runs it and saves a moment from the
// middle, `rest MOMENT FOLDER ROUNDS` goes on from there. Either prints what came of it, and leaves a capture and a report in FOLDER.
var (part, file, folder, rounds) = (Args[0], Args[1], Args[2], Args[3]);

Func<MachineSpec, MachineSpec> debian = vm => vm.Boot(Guest.Debian()).Memory(96.MiB).Disk("data", 8.MiB);
var fleet = Fleet.Define("busy").Seed(42)
    .Vm("web", out var web, debian).Vm("client", out var client, debian).Vm("pinger", out var pinger, debian).Vm("writer", out var writer, debian)
    .Lan("lan", out var lan, [web, client, pinger, writer], link => link.Latency(1.Milliseconds).Jitter(200.Microseconds));

(VmRef Vm, string Command)[] work =
[
    (web, $"for i in $(seq {rounds}0); do dd if=/dev/zero of=/dev/vda bs=64k count=32 conv=fsync 2>/dev/null; done; cat /proc/interrupts"),
    (client, $"for i in $(seq {rounds}); do wget -qO- http://web/file | sha256sum; done"),
    (pinger, $"ping -c {rounds}0 -i 0.05 web"),
    (writer, $"for i in $(seq {rounds}); do dd if=/dev/urandom of=/dev/vda bs=4k count=128 conv=fsync 2>/dev/null; sha256sum /dev/vda; done"),
];

if (part == "whole") await Whole();
else await Rest();

Task Whole() => Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();
    await lab[web].Shell("dd if=/dev/urandom of=/srv/file bs=64k count=8 2>/dev/null; httpd -h /srv");
    lab.Inject(Fault.Link(lan).Loss(0.02));
    lab.Inject(Fault.Link(lan).Reorder(0.05));
    lab.Inject(Fault.Disk(writer, "data").Latency(3.Milliseconds).Every(100.Milliseconds).For(50.Milliseconds));
    lab.Inject(Fault.Cpu(client).Stall(30.Milliseconds).Every(70.Milliseconds));
    lab.Inject(Fault.Clock(pinger).Drift(20_000));
    lab.Inject(Fault.Clock(web).Jump(5.Seconds).At(lab.Now + 150.Milliseconds));
    var ends = work.Select(job => lab[job.Vm].Shell(job.Command)).ToArray();
    await lab.RunFor(50.Milliseconds);
    (await lab.Snapshot("middle")).Save(file);
    await Tell(lab, ends);
});

async Task Rest()
{
    var lab = await Lab.StartAsync(Moment.Load(file));
    await Tell(lab, work.Select(job => lab[job.Vm].Resume(job.Command)));
}

async Task Tell(Lab lab, IEnumerable<Task<ShellResult>> ends)
{
    System.IO.Directory.CreateDirectory(folder);
    using var capture = lab[lan].Capture($"{folder}/lan.pcap");
    foreach (var end in await Task.WhenAll(ends)) WriteLine($"{end.Ending}\n{end.Output}");
    WriteLine($"{lab.Now} {lab.StateHash():x16} {lab[lan].Counters}");
    lab.Save(folder);
}
