using VmLab.Devices;

namespace VmLab.Devices.Tests;

/// <summary>The registers of machine checks, as Intel SDM vol. 3B §16.3 has them.</summary>
public sealed class MachineCheckBanksTests
{
    const uint Capabilities = 0x179, GlobalStatus = 0x17A, Control = 0x408, Status = 0x409, Address = 0x40A, Miscellaneous = 0x40B;
    const ulong InProgress = 4;

    [Test]
    public void Error_is_told_in_its_bank_until_it_is_cleared()
    {
        var banks = new MachineCheckBanks();

        Assert.That(banks.TryNote(2, 0x1234_5000), Is.True);

        Assert.That((Read(banks, Capabilities) & 0xFF, Read(banks, GlobalStatus) & InProgress), Is.EqualTo((4UL, InProgress)));
        Assert.That((Read(banks, Status), Read(banks, Address), Read(banks, Miscellaneous)), Is.EqualTo((0xB600_0000_0000_0135UL, 0x1234_5000UL, 0UL)));
        Assert.That(banks.TryWriteMsr(Status, 0) && banks.TryWriteMsr(Address, 0) && banks.TryWriteMsr(GlobalStatus, 0));
        Assert.That((Read(banks, Status), Read(banks, Address), Read(banks, GlobalStatus)), Is.EqualTo((0UL, 0UL, 0UL)));
    }

    [Test]
    public void Second_error_is_not_told_while_the_first_is_served()
    {
        var banks = new MachineCheckBanks();
        banks.TryNote(0, null);

        Assert.That(banks.TryNote(1, null), Is.False);
        banks.TryWriteMsr(GlobalStatus, 0);
        Assert.That(banks.TryNote(1, null), Is.True);
    }

    [Test]
    public void Corrected_error_is_in_its_bank_and_in_no_other_register()
    {
        var banks = new MachineCheckBanks();

        banks.NoteCorrected(2, 0x1234_5000);

        Assert.That((Read(banks, Status), Read(banks, Address), Read(banks, GlobalStatus)), Is.EqualTo((0x9400_0000_0000_0135UL, 0x1234_5000UL, 0UL)));
    }

    [Test]
    public void Bank_keeps_the_first_error_until_a_worse_one_comes_and_says_that_there_were_more()
    {
        const ulong Overflow = 1UL << 62;
        var banks = new MachineCheckBanks();

        banks.NoteCorrected(2, 0x1000);
        banks.NoteCorrected(2, 0x2000);
        Assert.That((Read(banks, Status), Read(banks, Address)), Is.EqualTo((0x9400_0000_0000_0135UL | Overflow, 0x1000UL)));
        banks.TryNote(2, null);
        Assert.That((Read(banks, Status), Read(banks, Address)), Is.EqualTo((0xB200_0000_0000_0135UL | Overflow, 0UL)));
        banks.NoteCorrected(2, 0x3000);
        Assert.That((Read(banks, Status), Read(banks, Address)), Is.EqualTo((0xB200_0000_0000_0135UL | Overflow, 0UL)));
    }

    [TestCase(Capabilities, 4UL)]
    [TestCase(GlobalStatus, 8UL)]
    [TestCase(Status, 1UL)]
    [TestCase(Address, 1UL)]
    [TestCase(Miscellaneous, 1UL)]
    public void What_may_not_be_written_is_refused(uint register, ulong value) =>
        Assert.That(new MachineCheckBanks().TryWriteMsr(register, value), Is.False);

    [Test]
    public void Restored_banks_are_as_saved()
    {
        MachineCheckBanks banks = new(), other = new();
        banks.TryWriteMsr(Control, ulong.MaxValue);
        banks.TryNote(2, 0x1000);

        other.Restore(banks.Save());

        Assert.That((Read(other, Control), Read(other, Status), Read(other, GlobalStatus)),
            Is.EqualTo((ulong.MaxValue, Read(banks, Status), Read(banks, GlobalStatus))));
        Assert.That(other.Save(), Is.EqualTo(banks.Save()));
    }

    static ulong Read(MachineCheckBanks banks, uint index)
    {
        Assert.That(banks.TryReadMsr(index, out ulong value), Is.True);
        return value;
    }
}
