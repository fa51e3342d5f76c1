#r "nuget: VmLab, 0.1.0"
// Throughput of virtio disks and network cards inside a guest, beside QEMU's (TCG) with the same kernel, initramfs and memory, in the
// same run.
//
//     vmlab run scripts/throughput.csx [-- FIGURE... --rounds N --engine E]
//
// prints a line a figure: NAME engine=E mib=N vmlab=S qemu=S ratio=R guest=V; S in CPU seconds (user and system, of all processes of a
// side) for so many MiB, R = vmlab/qemu, V in MiB a second of guest time, which VmLab's devices and links set. Medians of the rounds,
// behind one that is not counted, so that what is hot is compiled and translated on both sides.
//   block-write     dd to the disk, 1 MiB at a time, with a flush at its end
//   block-read      dd of what was written, not from the guest's cache
//   block-small     dd to the disk, 4 KiB at a time, each a request of its own
//   net             wget from busybox' httpd on a second machine, over a LAN of 10 Gbit/s (QEMU: two processes and a stream socket)
// QEMU's disk is a raw file with cache=unsafe, VmLab's is in memory, so that neither waits for the host's disk.
using System.Diagnostics;
using System.Globalization;
using System.Threading;
using VmLab; using VmLab.Core; using VmLab.Guests;

const string Qemu = "qemu-system-x86_64", QemuPackage = "qemu-system-x86", ServerAddress = "10.9.0.1", ClientAddress = "10.9.0.2";
const int MemoryMiB = 256, DiskMiB = 96;
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;

Figure[] figures =
[
    new("block-write", "server", 64, "dd if=/dev/zero of=/dev/vda bs=1M count=64 conv=fsync 2>/dev/null"),
    new("block-read", "server", 64, "echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/null bs=1M count=64 2>/dev/null"),
    new("block-small", "server", 8, "dd if=/dev/zero of=/dev/vda bs=4k count=2048 oflag=direct 2>/dev/null"),
    new("net", "client", 32, $"wget -q -O /dev/null http://{ServerAddress}/file"),
];
string[] names = [.. Args.Where(arg => !arg.StartsWith("--") && !IsOptionValue(arg))];
string unknown = names.Except(figures.Select(figure => figure.Name)).FirstOrDefault();
bool isEngine = Enum.TryParse(Option("--engine", "auto"), ignoreCase: true, out Engine engine) && Enum.IsDefined(engine);
if (unknown is not null || !isEngine)
{
    Console.Error.WriteLine(unknown is not null
        ? $"There is no figure {unknown}; there are {string.Join(", ", figures.Select(figure => figure.Name))}."
        : $"There is no engine {Option("--engine", "")}; there are {string.Join(", ", Enum.GetNames<Engine>()).ToLowerInvariant()}.");
    return 2;
}
if (names.Length > 0) figures = [.. figures.Where(figure => names.Contains(figure.Name))];
int rounds = int.Parse(Option("--rounds", "5"));

var fleet = Fleet.Define("throughput").Seed(1)
    .Vm("server", out var server, vm => Machine(vm, ServerAddress).Disk("data", DiskMiB.MiB))
    .Vm("client", out var client, vm => Machine(vm, ClientAddress))
    .Lan("lan", out _, [server, client], link => link.Rate(10.Gbps));

var peers = new Dictionary<string, Process>();
string folder = Directory.CreateTempSubdirectory("vmlab-throughput").FullName;
AppDomain.CurrentDomain.ProcessExit += (_, _) => KillPeers();
try
{
    if (HasQemu()) await StartPeers();
    else Console.Error.WriteLine($"QEMU is not here: `apt-get install {QemuPackage}` brings it. VmLab is measured alone.");
    await Lab.RunAsync(fleet, async lab =>
    {
        await lab.Boot();
        await lab[server].Shell(Serve);
        foreach (Figure figure in figures) await Measure(lab, figure);
    });
}
finally
{
    KillPeers();
    Directory.Delete(folder, recursive: true);
}
return 0;

record Figure(string Name, string Machine, int MiB, string Command);

const string Serve = "dd if=/dev/urandom of=/srv/file bs=1M count=32 2>/dev/null; httpd -h /srv";

MachineSpec Machine(MachineSpec vm, string address) =>
    vm.Boot(Guest.Debian(commandLine: $"vmlab.net=eth0:{address}/24")).Memory(MemoryMiB.MiB).On(engine);

async Task Measure(Lab lab, Figure figure)
{
    List<double> own = [], qemu = [], guest = [];
    for (int round = -1; round < rounds; round++)
    {
        double before = CpuSeconds(Process.GetCurrentProcess());
        TimeSpan start = lab.Now;
        ShellResult result = await lab[figure.Machine == "server" ? server : client].Shell(figure.Command, within: 600.Seconds);
        if (!result.Succeeded) throw new LabException($"{figure.Name} failed: {result}");
        double seconds = CpuSeconds(Process.GetCurrentProcess()) - before;
        double peer = peers.Count == 0 ? double.NaN : await MeasurePeer(figure);
        if (round < 0) continue;
        own.Add(seconds);
        qemu.Add(peer);
        guest.Add(figure.MiB / (lab.Now - start).TotalSeconds);
    }
    bool isAlone = peers.Count == 0;
    WriteLine($"{figure.Name} engine={engine.ToString().ToLowerInvariant()} mib={figure.MiB} vmlab={Median(own):0.000} "
        + $"qemu={(isAlone ? "-" : $"{Median(qemu):0.000}")} ratio={(isAlone ? "-" : $"{Median(own) / Median(qemu):0.00}")} "
        + $"guest={Median(guest):0}");
}

async Task<double> MeasurePeer(Figure figure)
{
    double before = peers.Values.Sum(CpuSeconds);
    await Ask(peers[figure.Machine], figure.Command);
    return peers.Values.Sum(CpuSeconds) - before;
}

async Task StartPeers()
{
    DebianGuest guest = await GuestStore.OfUser().DebianAsync();
    string disk = Path.Combine(folder, "disk"), socket = $"addr.type=unix,addr.path={Path.Combine(folder, "wire")}";
    using (FileStream file = File.Create(disk)) file.SetLength(DiskMiB << 20);
    await Start("server", ServerAddress, $"stream,id=wire,server=on,{socket}",
        ["-drive", $"file={disk},if=virtio,format=raw,cache=unsafe"]);
    await Start("client", ClientAddress, $"stream,id=wire,server=off,{socket}", []);
    await Ask(peers["server"], Serve);

    async Task Start(string name, string address, string network, string[] options)
    {
        peers[name] = Process.Start(new ProcessStartInfo(Qemu,
        [
            "-accel", "tcg", "-machine", "pc", "-m", $"{MemoryMiB}", "-display", "none", "-monitor", "none", "-no-reboot",
            "-serial", "stdio", "-serial", "null", "-kernel", guest.KernelPath, "-initrd", guest.InitramfsPath,
            "-append", $"{guest.CommandLine} vmlab.host={name} vmlab.net=eth0:{address}/24",
            "-netdev", network, "-device", $"virtio-net-pci,netdev=wire,mac=52:54:00:00:00:0{peers.Count + 1}", .. options,
        ])
        {
            UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
        });
        await ReadUntil(peers[name], DebianGuest.PromptOf(name));
    }
}

// The echo of the typed line shows $((1+1)), only the answer shows 2.
static async Task Ask(Process qemu, string command)
{
    await qemu.StandardInput.WriteAsync($"{command} && echo MARK$((1+1)) || echo FAIL$((1+1))\n");
    await qemu.StandardInput.FlushAsync();
    if ((await ReadUntil(qemu, "\nMARK2", "\nFAIL2")).Contains("\nFAIL2")) throw new LabException($"In QEMU failed: {command}");
}

static async Task<string> ReadUntil(Process process, params string[] texts)
{
    var seen = new StringBuilder();
    var buffer = new char[4096];
    using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(5));
    while (await process.StandardOutput.ReadAsync(buffer, patience.Token) is var count && count > 0)
    {
        seen.Append(buffer, 0, count).Replace("\r\n", "\n");
        if (texts.Any(seen.ToString().Contains)) return seen.ToString();
    }
    throw new LabException($"QEMU ended before it showed \"{texts[0].Trim()}\": {await process.StandardError.ReadToEndAsync()}{seen}");
}

void KillPeers()
{
    foreach (Process peer in peers.Values)
        try { peer.Kill(entireProcessTree: true); } catch (InvalidOperationException) { }   // it has ended
}

static double CpuSeconds(Process process)
{
    process.Refresh();
    return process.TotalProcessorTime.TotalSeconds;
}

static bool HasQemu() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
    .Any(folder => File.Exists(Path.Combine(folder, Qemu)));

string Option(string name, string otherwise) =>
    Args.IndexOf(name) is var at && at >= 0 && at + 1 < Args.Count ? Args[at + 1] : otherwise;

bool IsOptionValue(string arg) => Args.IndexOf(arg) is var at && at > 0 && Args[at - 1] is "--rounds" or "--engine";

static double Median(List<double> values)
{
    var sorted = values.Order().ToList();
    return (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
}
