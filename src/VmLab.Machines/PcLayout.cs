using VmLab.Core;
using VmLab.Guests;

namespace VmLab.Machines;

/// <summary>Where the hardware of this PC lies: the one file with addresses, ports and interrupt numbers.</summary>
static class PcLayout
{
    public const ulong LocalApic = 0xFEE0_0000, IoApic = 0xFEC0_0000, Hpet = 0xFED0_0000;
    public const ulong LocalApicLength = 0x1000, IoApicLength = 0x1000, HpetLength = 0x400;

    /// <summary>Where PCI devices may ask for memory: from the end of low RAM to the APICs.</summary>
    public const ulong PciWindow = GuestMemory.LowTop, PciWindowLength = IoApic - PciWindow;

    public const int MasterPic = 0x20, SlavePic = 0xA0, TriggerControl = 0x4D0, Pit = 0x40, SystemControl = 0x61,
        Keyboard = 0x60, KeyboardCommand = 0x64, Cmos = 0x70, SerialOne = 0x3F8, SerialTwo = 0x2F8, PciAddress = 0xCF8, PciData = 0xCFC,
        PmEvent = 0x600, PmControl = PmEvent + 4, PmTimer = PmEvent + 8, Reset = PciAddress + 1;

    public const byte ResetValue = 0x06;

    /// <summary>What the DSDT's \_S5 names.</summary>
    public const byte SoftOffType = 5;

    public const int PitInterrupt = 0, SerialTwoInterrupt = 3, SerialOneInterrupt = 4, RtcInterrupt = 8, SciInterrupt = 9, KeyboardInterrupt = 1;

    /// <summary>What PIRQA to PIRQD are to the interrupt controllers.</summary>
    public static readonly int[] PciInterrupts = [10, 11, 5, 7];

    /// <summary>The I/O APIC pin of PIRQA, as the DSDT's _PRT tells it; the others follow.</summary>
    public const int FirstPciPin = 16;

    /// <summary>Where PCI devices may ask for ports.</summary>
    public const int PciPorts = 0xC000, PciPortCount = 0x1000;

    /// <summary>The PCI devices that a machine's configuration adds come after the bridges.</summary>
    public const int FirstFreeSlot = 3, MostDevices = 29;

    /// <summary>Wired to I/O APIC pin 2, since pin 0 belongs to the 8259s.</summary>
    public const int PitPin = 2;

    /// <summary>1 January 2024, 00:00 UTC: what every machine's clock shows at power-on.</summary>
    public static readonly DateTimeOffset PowerOnDate = new(2024, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>What the ACPI tables tell of it.</summary>
    public static readonly PcHardware Hardware = new(
        Cpus: 1, LocalApic, IoApic, Hpet, PmEvent, PmControl, PmTimer, Reset, ResetValue, SciInterrupt,
        PciConfiguration: 0, PciWindow, PciWindowLength);
}
