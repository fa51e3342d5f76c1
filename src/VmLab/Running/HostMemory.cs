using System.Globalization;

namespace VmLab.Running;

/// <summary>What memory the host has to give.</summary>
static class HostMemory
{
    /// <summary>What a machine takes beside its RAM: page map, decoded code, devices.</summary>
    static readonly ByteSize s_perMachine = 32.MiB;

    /// <exception cref="LabException">The fleet will not fit.</exception>
    public static void RequireRoomFor(Fleet fleet, ByteSize free)
    {
        ByteSize need = default;
        foreach (MachineSpec machine in fleet.Machines) need += machine.MemorySize + s_perMachine;
        if (need <= free) return;
        string machines = string.Join(", ", fleet.Machines.Select(machine => $"{machine.Name} {machine.MemorySize}"));
        throw new LabException(
            $"""
            Fleet "{fleet.Name}" will not fit: it needs {need}, and {free} are free.
            It has {machines}, and each machine takes {s_perMachine} beside its RAM. Use fewer or smaller machines.
            """);
    }

    /// <summary>What can be taken without swapping, within the limits of the container.</summary>
    public static ByteSize Free()
    {
        GCMemoryInfo info = GC.GetGCMemoryInfo();
        ulong container = (ulong)Math.Max(0, info.TotalAvailableMemoryBytes - Environment.WorkingSet);
        return new ByteSize(Math.Min(container, LinuxAvailable() ?? container));
    }

    static ulong? LinuxAvailable()
    {
        const string Path = "/proc/meminfo", Key = "MemAvailable:";
        if (!File.Exists(Path)) return null;
        string? line = File.ReadLines(Path).FirstOrDefault(text => text.StartsWith(Key, StringComparison.Ordinal));
        string? kibibytes = line?[Key.Length..].Trim().Split(' ')[0];
        return ulong.TryParse(kibibytes, CultureInfo.InvariantCulture, out ulong value) ? value << 10 : null;
    }
}
