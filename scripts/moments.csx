#r "nuget: VmLab, 0.1.0"
// What moments cost: of a booted 256 MiB Debian, beside QEMU's loadvm of the same guest.
//
//     vmlab run scripts/moments.csx [-- FIGURE... --forks N]
//
// prints a line a figure, NAME value=V unit=U:
// (with -cpu behind its name, a time is CPU time of the process, a mean)
//   restore-memory      a restore in memory, the machine having run 100 ms since the moment (median)
//   restore-file        a moment's file loaded, all of it checked, and a lab grown from it (median)
//   save, file          a moment written to a file, on the disk (median), and the file
//   save-incremental    a moment 100 ms later, written as what differs; beside it file-incremental and restore-incremental
//   fork, fork-mib      a lab grown from a moment in memory (median), and what it takes of the host's memory until it runs
//   forks-alive         forks alive at once, every one having run a command
//   forks-pss-mib       the process' memory with all of them, a fork
//   forks-per-second    fork, run a command, discard, by two threads; the second figure is by CPU time, as if the host were idle
//   snapshot-*-percent  CPU time that a snapshot every 100 ms of guest time adds, to a machine that computes, and to one that also
//                       dirties 20 MiB a guest second (medians over pairs of runs)
//   qemu-loadvm         QEMU 7.2 (TCG) loads a snapshot of the same guest (median)
using System.Diagnostics;
using System.Globalization;
using System.Threading;
using VmLab; using VmLab.Core; using VmLab.Guests;

const string Host = "peer", Qemu = "qemu-system-x86_64";
const int MemoryMiB = 256, Rounds = 11;
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;

string[] groups = ["restore-memory", "restore-file", "save-incremental", "fork", "forks-per-second", "snapshot", "forks-alive", "qemu-loadvm"];
string[] names = [.. Args.Where(arg => !arg.StartsWith("--") && !IsOptionValue(arg))];
if (names.Except(groups).FirstOrDefault() is { } unknown)
{
    Console.Error.WriteLine($"There is no figure {unknown}; there are {string.Join(", ", groups)}.");
    return 2;
}
if (names.Length == 0) names = groups;

var fleet = Fleet.Define("moments").Seed(1).Vm(Host, out var peer, vm => vm.Boot(Guest.Debian()).Memory(MemoryMiB.MiB));
await Lab.RunAsync(fleet, async lab =>
{
    await lab.Boot();
    await lab.RunFor(2.Seconds);                                          // what comes after the boot is over, too
    var booted = await lab.Snapshot("booted");
    if (names.Contains("restore-memory")) await MeasureRestore(lab, booted);
    if (names.Contains("restore-file")) await MeasureFile(booted);
    if (names.Contains("save-incremental")) await MeasureIncrement(lab, booted);
    if (names.Contains("fork")) await MeasureFork(booted);
    if (names.Contains("forks-per-second")) MeasureRate(booted);
    if (names.Contains("snapshot")) await MeasureSnapshots(booted);
    if (names.Contains("forks-alive")) await MeasureAlive(booted, int.Parse(Option("--forks", "500")));
});
if (names.Contains("qemu-loadvm")) await MeasureQemu();
return 0;

async Task MeasureRestore(Lab lab, Moment booted)
{
    var times = new Times();
    for (int i = 0; i < Rounds; i++)
    {
        await lab.Restore(booted);
        await lab.RunFor(100.Milliseconds);
        await times.Take(() => lab.Restore(booted));
    }
    times.Tell("restore-memory");
}

async Task MeasureFile(Moment booted)
{
    string path = Path.Combine(Path.GetTempPath(), $"vmlab-{Environment.ProcessId}.moment");
    try
    {
        var saving = new Times();
        for (int i = 0; i < Rounds; i++) await saving.Take(() => { booted.Save(path); return Task.CompletedTask; });
        saving.Tell("save");
        for (int i = 0; i < 5; i++) await (await Lab.StartAsync(Moment.Load(path))).DisposeAsync();
        var times = new Times();
        for (int i = 0; i < Rounds; i++)
        {
            Lab grown = null;
            await times.Take(async () => grown = await Lab.StartAsync(Moment.Load(path)));
            await grown.DisposeAsync();
        }
        times.Tell("restore-file");
        Tell("file", new FileInfo(path).Length / 1048576.0, "MiB");
    }
    finally
    {
        File.Delete(path);
    }
}

// 100 ms later, in a file that holds what differs; the other is a file of all.
async Task MeasureIncrement(Lab lab, Moment booted)
{
    string folder = Directory.CreateTempSubdirectory("vmlab-moments").FullName, later = Path.Combine(folder, "later.moment");
    try
    {
        booted.Save(Path.Combine(folder, "booted.moment"));
        await lab.Restore(booted);
        await lab.RunFor(100.Milliseconds);
        var moment = await lab.Snapshot("later");
        var saving = new Times();
        for (int i = 0; i < Rounds; i++) await saving.Take(() => { moment.Save(later, booted); return Task.CompletedTask; });
        saving.Tell("save-incremental");
        Tell("file-incremental", new FileInfo(later).Length / 1048576.0, "MiB");
        for (int i = 0; i < 5; i++) await (await Lab.StartAsync(Moment.Load(later))).DisposeAsync();
        var loading = new Times();
        for (int i = 0; i < Rounds; i++)
        {
            Lab grown = null;
            await loading.Take(async () => grown = await Lab.StartAsync(Moment.Load(later)));
            await grown.DisposeAsync();
        }
        loading.Tell("restore-incremental");
    }
    finally
    {
        Directory.Delete(folder, recursive: true);
    }
}

async Task MeasureFork(Moment booted)
{
    const int Forks = 50;
    for (int i = 0; i < 5; i++) await (await Lab.StartAsync(booted)).DisposeAsync();
    var times = new Times();
    var alive = new List<Lab>();
    double before = PssMiB();
    for (int i = 0; i < Forks; i++) await times.Take(async () => alive.Add(await Lab.StartAsync(booted)));
    double after = PssMiB();
    times.Tell("fork");
    Tell("fork-mib", (after - before) / Forks, "MiB");
    foreach (Lab fork in alive) await fork.DisposeAsync();
}

void MeasureRate(Moment booted)
{
    const int Each = 20;
    Thread[] threads = [.. Enumerable.Range(0, 2).Select(_ => new Thread(() => Pump.Run(async () =>
    {
        for (int i = 0; i < Each; i++)
        {
            await using Lab fork = await Lab.StartAsync(booted);
            if (!(await fork[peer].Shell("true")).Succeeded) throw new LabException("A fork ran nothing.");
        }
    }, new LabOptions { Threads = 1 })))];
    double cpu = CpuSeconds();
    var clock = Stopwatch.StartNew();
    foreach (Thread thread in threads) thread.Start();
    foreach (Thread thread in threads) thread.Join();
    double seconds = clock.Elapsed.TotalSeconds;
    cpu = CpuSeconds() - cpu;
    Tell("forks-per-second", 2 * Each / seconds, "1/s");
    Tell("forks-per-second-by-cpu", 2 * Each / (cpu / 2), "1/s");
}

async Task MeasureSnapshots(Moment booted)
{
    const string Compute = "busybox awk 'BEGIN { while (1) s += i++ % 7 }'";
    const string Dirty = "while :; do dd if=/dev/zero of=/tmp/dirty bs=1M count=2 conv=notrunc 2>/dev/null; sleep 0.08; done & ";
    Tell("snapshot-compute-percent", await Added(booted, Compute), "%");
    Tell("snapshot-dirty-percent", await Added(booted, Dirty + Compute), "%");
}

async Task<double> Added(Moment booted, string command)
{
    const int Pairs = 5;
    var added = new List<double>();
    for (int i = 0; i < Pairs; i++)
    {
        double without = await Computing(booted, command, snapshots: false), with = await Computing(booted, command, snapshots: true);
        added.Add(100 * (with / without - 1));
    }
    return Median(added);
}

// CPU seconds of a stretch of guest time, the first second of which is not counted.
async Task<double> Computing(Moment booted, string command, bool snapshots)
{
    await using Lab lab = await Lab.StartAsync(booted);
    lab[peer].Console.Send(command + "\n");
    await lab.RunFor(1.Seconds);
    using MomentSeries taken = snapshots ? lab.Every(100.Milliseconds).Snapshot(keep: 10) : null;
    double before = CpuSeconds();
    await lab.RunFor(3.Seconds);
    double seconds = CpuSeconds() - before;
    foreach (Moment moment in taken?.Kept ?? []) moment.Dispose();
    return seconds;
}

async Task MeasureAlive(Moment booted, int count)
{
    double before = PssMiB();
    var alive = new List<Lab>();
    for (int i = 0; i < count; i++)
    {
        Lab fork = await Lab.StartAsync(booted);
        alive.Add(fork);
        string said = (await fork[peer].Shell($"echo fork {i}")).Output;
        if (said != $"fork {i}\n") throw new LabException($"Fork {i} said {said}");
    }
    Tell("forks-alive", alive.Count(fork => fork.Machines[0].Status == VmLab.Machines.MachineStatus.Running), "forks");
    Tell("forks-pss-mib", (PssMiB() - before) / count, "MiB");
    foreach (Lab fork in alive) await fork.DisposeAsync();
}

async Task MeasureQemu()
{
    if (!(Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(folder => File.Exists(Path.Combine(folder, Qemu))))
    {
        Console.Error.WriteLine("QEMU is not here: `apt-get install qemu-system-x86` brings it.");
        return;
    }
    DebianGuest guest = await GuestStore.OfUser().DebianAsync();
    string folder = Directory.CreateTempSubdirectory("vmlab-qemu").FullName, disk = Path.Combine(folder, "disk.qcow2"), console = Path.Combine(folder, "console");
    using (Process image = Process.Start("qemu-img", ["create", "-q", "-f", "qcow2", disk, "1G"])) await image.WaitForExitAsync();
    using Process qemu = Process.Start(new ProcessStartInfo(Qemu,
    [
        "-accel", "tcg", "-machine", "pc", "-m", $"{MemoryMiB}", "-display", "none", "-monitor", "stdio", "-no-reboot",
        "-serial", $"file:{console}", "-serial", "null", "-nic", "none", "-kernel", guest.KernelPath, "-initrd", guest.InitramfsPath,
        "-append", $"{guest.CommandLine} vmlab.host={Host}", "-drive", $"file={disk},if=virtio,format=qcow2",
    ])
    {
        UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
    });
    try
    {
        while (!File.Exists(console) || !(await File.ReadAllTextAsync(console)).Contains(DebianGuest.PromptOf(Host))) await Task.Delay(200);
        await Task.Delay(2000);
        await Ask("");
        await Ask("savevm booted");
        var times = new Times(qemu);
        for (int i = 0; i < Rounds; i++) await times.Take(() => Ask("loadvm booted"));
        times.Tell("qemu-loadvm");
    }
    finally
    {
        qemu.Kill();
        await qemu.WaitForExitAsync();
        Directory.Delete(folder, recursive: true);
    }

    // The monitor echoes what it is told, and prompts when it is done.
    async Task Ask(string command)
    {
        if (command.Length > 0) await qemu.StandardInput.WriteLineAsync(command);
        await qemu.StandardInput.FlushAsync();
        var seen = new StringBuilder();
        var buffer = new char[4096];
        while (await qemu.StandardOutput.ReadAsync(buffer) is var count && count > 0)
        {
            seen.Append(buffer, 0, count);
            string text = seen.ToString();
            if (text.EndsWith("(qemu) ") && (command.Length == 0 || text.Contains('\n'))) return;
        }
        throw new LabException($"QEMU ended: {seen}{await qemu.StandardError.ReadToEndAsync()}");
    }
}

static void Tell(string name, double value, string unit) => WriteLine($"{name} value={value:0.##} unit={unit}");

// Wall-clock time, as a median; and CPU time of the process, as a mean, which a busy host does not make longer.
class Times(Process process = null)
{
    readonly Process _process = process ?? Process.GetCurrentProcess();
    readonly List<double> _walls = [];
    double _cpu;

    public async Task Take(Func<Task> deed)
    {
        double before = Cpu();
        var clock = Stopwatch.StartNew();
        await deed();
        _walls.Add(clock.Elapsed.TotalMilliseconds);
        _cpu += Cpu() - before;
    }

    public void Tell(string name)
    {
        WriteLine($"{name} value={Median(_walls):0.##} unit=ms");
        WriteLine($"{name}-cpu value={_cpu / _walls.Count:0.##} unit=ms");
    }

    double Cpu()
    {
        _process.Refresh();
        return _process.TotalProcessorTime.TotalMilliseconds;
    }
}

static double CpuSeconds() => Process.GetCurrentProcess().TotalProcessorTime.TotalSeconds;

// What the process takes of the host's memory; of what it shares with others, its share.
static double PssMiB()
{
    GC.Collect();
    string line = File.ReadLines("/proc/self/smaps_rollup").First(text => text.StartsWith("Pss:"));
    return double.Parse(line["Pss:".Length..].Trim().Split(' ')[0]) / 1024;
}

string Option(string name, string otherwise) =>
    Args.IndexOf(name) is var at && at >= 0 && at + 1 < Args.Count ? Args[at + 1] : otherwise;

bool IsOptionValue(string arg) => Args.IndexOf(arg) is var at && at > 0 && Args[at - 1] == "--forks";

static double Median(List<double> values)
{
    var sorted = values.Order().ToList();
    return (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
}
