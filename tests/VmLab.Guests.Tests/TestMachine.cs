using VmLab.Core;

namespace VmLab.Guests.Tests;

/// <summary>Memory and hardware to load guests on.</summary>
sealed class TestMachine : IDisposable
{
    public static readonly PcHardware Hardware = new(
        Cpus: 2, LocalApic: 0xFEE0_0000, IoApic: 0xFEC0_0000, Hpet: 0xFED0_0000, PmEventPort: 0x600,
        PmControlPort: 0x604,
        PmTimerPort: 0x608, ResetPort: 0xCF9, ResetValue: 6, SciInterrupt: 9, PciConfiguration: 0xE000_0000,
        MmioWindow: 0xC000_0000, MmioWindowLength: 0x2000_0000);

    readonly FramePool _pool = new(1.GiB);

    public TestMachine(ByteSize size) => Memory = new GuestMemory(_pool, size);

    public GuestMemory Memory { get; }

    public static BootContext Context(ulong seed = 1, string name = "alice") => new(name, Hardware, Rng.FromSeed(seed));

    public BootEntry Load(IBootable guest, ulong seed = 1) => guest.Load(Memory, Context(seed));

    public byte[] Bytes(ulong address, int count)
    {
        byte[] bytes = new byte[count];
        Memory.Read(address, bytes);
        return bytes;
    }

    public ulong Number(ulong address, int size)
    {
        ulong value = 0;
        foreach (byte next in Bytes(address, size).Reverse()) value = value << 8 | next;
        return value;
    }

    public void Dispose()
    {
        Memory.Dispose();
        _pool.Dispose();
    }
}
