using System.Buffers.Binary;
using System.Text;
using VmLab.Guests.Acpi;

namespace VmLab.Guests.Tests.Acpi;

public sealed class AcpiTablesTests
{
    const ulong Address = 0xE_0000;

    static readonly byte[] s_tables = AcpiTables.Build(Address, TestMachine.Hardware);

    [Test]
    public void Root_pointer_has_both_checksums()
    {
        Assert.That(Encoding.ASCII.GetString(s_tables, 0, 8), Is.EqualTo("RSD PTR "));
        Assert.That(s_tables[15], Is.EqualTo(2));
        Assert.That(Sum(s_tables.AsSpan(0, 20)), Is.Zero);
        Assert.That(Sum(s_tables.AsSpan(0, 36)), Is.Zero);
    }

    [Test]
    public void Both_lists_name_the_same_tables_all_with_right_checksums()
    {
        byte[] shortList = Table(Number(16, 4)), longList = Table(Number(24, 8));

        ulong[] from32 = [.. shortList[36..].Chunk(4).Select(pointer => (ulong)BitConverter.ToUInt32(pointer))];
        ulong[] from64 = [.. longList[36..].Chunk(8).Select(pointer => BitConverter.ToUInt64(pointer))];
        byte[][] tables = [shortList, longList, .. from64.Select(Table), Table(Fadt(140, 8))];
        Assert.That(from32, Is.EqualTo(from64));
        Assert.That(tables.Select(table => Sum(table)), Is.All.Zero);
        Assert.That(
            tables.Select(table => Encoding.ASCII.GetString(table, 0, 4)),
            Is.EqualTo((string[])["RSDT", "XSDT", "FACP", "APIC", "HPET", "MCFG", "DSDT"]));
    }

    [Test]
    public void Fixed_table_tells_where_power_management_lies()
    {
        Assert.That(Fadt(46, 2), Is.EqualTo(TestMachine.Hardware.SciInterrupt));
        Assert.That(Fadt(48, 4), Is.Zero, "there is no SMI command port");
        Assert.That(Fadt(56, 4), Is.EqualTo(TestMachine.Hardware.PmEventPort));
        Assert.That(Fadt(64, 4), Is.EqualTo(TestMachine.Hardware.PmControlPort));
        Assert.That(Fadt(76, 4), Is.EqualTo(TestMachine.Hardware.PmTimerPort));
        Assert.That(Fadt(120, 8), Is.EqualTo(TestMachine.Hardware.ResetPort));
        Assert.That(Fadt(128, 1), Is.EqualTo(TestMachine.Hardware.ResetValue));
        Assert.That(Fadt(40, 4), Is.EqualTo(Fadt(140, 8)));
    }

    [Test]
    public void Fixed_table_points_at_an_aligned_FACS()
    {
        ulong facs = Fadt(36, 4);

        Assert.That(facs % 64, Is.Zero);
        Assert.That(Encoding.ASCII.GetString(s_tables, (int)(facs - Address), 4), Is.EqualTo("FACS"));
        Assert.That(Number((int)(facs - Address) + 4, 4), Is.EqualTo(64));
    }

    [Test]
    public void Every_processor_has_its_local_APIC()
    {
        byte[] tables = AcpiTables.Build(Address, TestMachine.Hardware with { Cpus = 5 });

        byte[] madt = Find(tables, "APIC");
        Assert.That(
            Subtables(madt).Where(entry => entry[0] == 0).Select(entry => (int)entry[3]),
            Is.EqualTo((int[])[0, 1, 2, 3, 4]));
        Assert.That(
            Subtables(madt).Where(entry => entry[0] == 2).Select(entry => (entry[3], entry[4])),
            Is.EqualTo(((byte, byte)[])[(0, 2), (9, 9)]));
    }

    [Test]
    public void What_is_not_there_has_no_table()
    {
        byte[] tables = AcpiTables.Build(Address, TestMachine.Hardware with { Hpet = 0, PciConfiguration = 0 });

        Assert.That(Find(tables, "HPET"), Is.Empty);
        Assert.That(Find(tables, "MCFG"), Is.Empty);
    }

    [Test]
    public void Description_of_the_machine_is_as_it_was_when_iasl_read_it()
    {
        IEnumerable<string> lines =
            Convert.ToHexString(Table(Fadt(140, 8))).Chunk(64).Select(line => new string(line) + "\n");

        Assert.That(string.Concat(lines), Is.EqualTo(Fixture.Text("dsdt.txt")));
    }

    [Test]
    public void Tables_fit_the_range_that_is_searched_for_them_with_many_processors() =>
        Assert.That(AcpiTables.Build(Address, TestMachine.Hardware with { Cpus = 64 }), Has.Length.LessThan(0x2_0000));

    static byte[] Table(ulong address)
    {
        int start = (int)(address - Address);
        return s_tables[start..(start + (int)Number(start + 4, 4))];
    }

    static ulong Fadt(int offset, int size)
    {
        byte[] fadt = Find(s_tables, "FACP");
        return Number(fadt, offset, size);
    }

    static byte[] Find(byte[] tables, string signature)
    {
        for (int start = 128; start < tables.Length; start += 16)
            if (Encoding.ASCII.GetString(tables, start, 4) == signature)
                return tables[start..(start + (int)Number(tables, start + 4, 4))];
        return [];
    }

    static IEnumerable<byte[]> Subtables(byte[] madt)
    {
        for (int at = 44; at < madt.Length; at += madt[at + 1]) yield return madt[at..(at + madt[at + 1])];
    }

    static ulong Number(int offset, int size) => Number(s_tables, offset, size);

    static ulong Number(byte[] bytes, int offset, int size)
    {
        byte[] wide = new byte[8];
        bytes.AsSpan(offset, size).CopyTo(wide);
        return BinaryPrimitives.ReadUInt64LittleEndian(wide);
    }

    static byte Sum(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        foreach (byte value in bytes) sum += value;
        return sum;
    }
}
