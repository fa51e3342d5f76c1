using System.Buffers.Binary;
using System.Text;
using VmLab.Core;

namespace VmLab.Guests.Acpi;

/// <summary>The ACPI tables of a PC: RSDP, RSDT, XSDT, FADT, FACS, DSDT, MADT, HPET, and MCFG where there is PCI
/// Express.</summary>
/// <remarks>
/// Fixed hardware, ACPI mode from the start: no SMI, no general-purpose events, no embedded controller, no processor
/// states. Announced as absent: VGA, keyboard controller. The power button is a fixed feature.
/// Source: ACPI 6.4, §5.2; IA-PC HPET 1.0a, §3.2.4; PCI Firmware Specification 3.2, §4.1.2 (MCFG).
/// </remarks>
public static class AcpiTables
{
    /// <summary>What the guest writes as sleep type, with sleep enable, to PM1 control in order to switch the machine
    /// off.</summary>
    public const byte SoftOffType = 5;

    /// <summary>Bytes of the PCI Express configuration window: 256 buses of 1 MiB.</summary>
    public const ulong PciConfigurationSize = 256UL << 20;

    const int HeaderSize = 36, RsdpSize = 36, FacsSize = 64;
    const byte PortSpace = 1, MemorySpace = 0;
    const byte ByteAccess = 1, WordAccess = 2, DWordAccess = 3;

    // FADT: legacy devices, no VGA; WBINVD, C1, no sleep button, no RTC in fixed registers, 32-bit timer,
    // reset register.
    const ushort BootArchitecture = 1 << 0 | 1 << 2;
    const uint Features = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10;

    /// <summary>Writes the tables, and returns the address of their root pointer (RSDP).</summary>
    public static ulong Write(GuestMemory memory, ulong address, PcHardware hardware)
    {
        memory.Write(address, Build(address, hardware));
        return address;
    }

    /// <summary>Builds the tables to lie at <paramref name="address"/>, a multiple of 64 below 4 GiB; the RSDP comes
    /// first.</summary>
    public static byte[] Build(ulong address, PcHardware hardware)
    {
        var image = new MemoryStream();
        image.SetLength(2 * 64);                                    // room for the RSDP, then for the FACS
        ulong facs = address + 64;
        image.Position = image.Length;

        ulong Place(byte[] table)
        {
            image.Position = image.Length + 15 & ~15L;
            ulong at = address + (ulong)image.Position;
            image.Write(table);
            return at;
        }

        ulong dsdt = Place(Table("DSDT", 2, SystemDescription.Aml(hardware)));
        List<ulong> tables = [Place(Fadt(hardware, facs, dsdt)), Place(Madt(hardware))];
        if (hardware.Hpet != 0) tables.Add(Place(HpetTable(hardware)));
        if (hardware.PciConfiguration != 0) tables.Add(Place(Mcfg(hardware)));
        ulong rsdt = Place(Table("RSDT", 1, Pointers(tables, size: 4)));
        ulong xsdt = Place(Table("XSDT", 1, Pointers(tables, size: 8)));

        byte[] bytes = image.ToArray();
        Rsdp(rsdt, xsdt).CopyTo(bytes, 0);
        Facs().CopyTo(bytes, 64);
        return bytes;
    }

    static byte[] Rsdp(ulong rsdt, ulong xsdt)
    {
        byte[] rsdp = new byte[RsdpSize];
        "RSD PTR "u8.CopyTo(rsdp);
        "VMLAB "u8.CopyTo(rsdp.AsSpan(9));
        rsdp[15] = 2;
        Put(rsdp, 16, 4, rsdt);
        Put(rsdp, 20, 4, RsdpSize);
        Put(rsdp, 24, 8, xsdt);
        rsdp[8] = Checksum(rsdp.AsSpan(0, 20));                     // of the part that version 1 knows
        rsdp[32] = Checksum(rsdp);
        return rsdp;
    }

    static byte[] Facs()
    {
        byte[] facs = new byte[FacsSize];
        "FACS"u8.CopyTo(facs);
        Put(facs, 4, 4, FacsSize);
        facs[32] = 2;
        return facs;
    }

    // By offset from the table's start, as ACPI 6.4 table 5-9 gives them.
    static byte[] Fadt(PcHardware hardware, ulong facs, ulong dsdt)
    {
        byte[] fadt = new byte[276];
        Put(fadt, 36, 4, facs);
        Put(fadt, 40, 4, dsdt);
        Put(fadt, 46, 2, hardware.SciInterrupt);
        Put(fadt, 56, 4, hardware.PmEventPort);
        Put(fadt, 64, 4, hardware.PmControlPort);
        Put(fadt, 76, 4, hardware.PmTimerPort);
        fadt[88] = 4;                                               // bytes of PM1 events,
        fadt[89] = 2;                                               // of PM1 control,
        fadt[91] = 4;                                               // of the timer
        Put(fadt, 96, 2, 101);                                      // C2 and C3 take so long that they are not there
        Put(fadt, 98, 2, 1001);
        Put(fadt, 109, 2, BootArchitecture);
        Put(fadt, 112, 4, Features);
        Register(fadt, 116, 8, ByteAccess, hardware.ResetPort);
        fadt[128] = hardware.ResetValue;
        fadt[131] = 4;                                              // minor version of 6.4
        Put(fadt, 140, 8, dsdt);
        Register(fadt, 148, 32, WordAccess, hardware.PmEventPort);
        Register(fadt, 172, 16, WordAccess, hardware.PmControlPort);
        Register(fadt, 208, 32, DWordAccess, hardware.PmTimerPort);
        return Table("FACP", 6, fadt.AsSpan(HeaderSize));
    }

    static byte[] Madt(PcHardware hardware)
    {
        var madt = new TableBody().Long(hardware.LocalApic).Long(1);    // there are 8259s too
        for (int cpu = 0; cpu < hardware.Cpus; cpu++) madt.Bytes(0, 8, (byte)cpu, (byte)cpu).Long(1);
        madt.Bytes(1, 12, (byte)hardware.Cpus, 0).Long(hardware.IoApic).Long(0);
        madt.Bytes(2, 10, 0, 0).Long(2).Word(0);                    // the 8254 comes in at pin 2
        madt.Bytes(2, 10, 0, hardware.SciInterrupt).Long(hardware.SciInterrupt).Word(0b1101);   // level, active high
        madt.Bytes(4, 6, 0xFF).Word(0).Bytes(1);                    // NMI at LINT1 of every processor
        return Table("APIC", 4, madt.ToArray());
    }

    static byte[] HpetTable(PcHardware hardware)
    {
        const ulong ThreeComparators64BitLegacyReplacement = 0x8086_A201;
        const ushort LeastPeriodicTicks = 100;
        return Table("HPET", 1, new TableBody()
            .Long(ThreeComparators64BitLegacyReplacement)
            .Bytes(MemorySpace, 64, 0, 0).Quad(hardware.Hpet)
            .Bytes(0).Word(LeastPeriodicTicks).Bytes(0).ToArray());
    }

    static byte[] Mcfg(PcHardware hardware) =>
        Table("MCFG", 1, new TableBody()
            .Quad(0)
            .Quad(hardware.PciConfiguration).Word(0).Bytes(0, 255).Long(0).ToArray());

    static byte[] Table(string signature, byte revision, ReadOnlySpan<byte> body)
    {
        byte[] table = new byte[HeaderSize + body.Length];
        Encoding.ASCII.GetBytes(signature, table);
        Put(table, 4, 4, (ulong)table.Length);
        table[8] = revision;
        "VMLAB VMLABPC "u8.CopyTo(table.AsSpan(10));
        Put(table, 24, 4, 1);
        "VMLB"u8.CopyTo(table.AsSpan(28));
        Put(table, 32, 4, 1);
        body.CopyTo(table.AsSpan(HeaderSize));
        table[9] = Checksum(table);
        return table;
    }

    static byte[] Pointers(List<ulong> tables, int size)
    {
        byte[] pointers = new byte[size * tables.Count];
        for (int i = 0; i < tables.Count; i++) Put(pointers, size * i, size, tables[i]);
        return pointers;
    }

    // A generic address structure that names ports.
    static void Register(byte[] table, int offset, byte bits, byte access, ushort port)
    {
        table[offset] = PortSpace;
        table[offset + 1] = bits;
        table[offset + 3] = access;
        Put(table, offset + 4, 8, port);
    }

    static void Put(Span<byte> table, int offset, int size, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        bytes[..size].CopyTo(table[offset..]);
    }

    static byte Checksum(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        foreach (byte value in bytes) sum += value;
        return (byte)-sum;
    }
}
