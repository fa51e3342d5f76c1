namespace VmLab.Guests.Acpi;

/// <summary>The AML of the machine: how to switch it off, and what its PCI bus hands on.</summary>
/// <remarks>
/// PCI interrupts go to the I/O APIC: pin INTA..INTD of slot s is global interrupt 16 + (s + pin) mod 4.
/// Source: ACPI 6.4, §7.4.2 (_Sx), §6.2.13 (_PRT), §6.1; PCI Firmware Specification 3.2, §4.1.2.
/// </remarks>
static class SystemDescription
{
    /// <summary>First global interrupt of PCI pins, and how many they share.</summary>
    const uint FirstPciInterrupt = 16, PciInterrupts = 4;

    const ushort PciAddressPort = 0xCF8;
    const int Slots = 32, Pins = 4;

    public static byte[] Aml(PcHardware hardware)
    {
        var aml = new AmlWriter();
        aml.Name(@"\_S5", value => value.Package(
            type => type.Integer(AcpiTables.SoftOffType), _ => _.Integer(0), _ => _.Integer(0), _ => _.Integer(0)));
        aml.Scope(@"\_SB", bus => Bus(bus, hardware));
        return aml.ToArray();
    }

    static void Bus(AmlWriter bus, PcHardware hardware)
    {
        bool isExpress = hardware.PciConfiguration != 0;
        bus.Device("PCI0", bridge =>
        {
            bridge.Name("_HID", id => id.EisaId(isExpress ? "PNP0A08" : "PNP0A03"));
            if (isExpress) bridge.Name("_CID", id => id.EisaId("PNP0A03"));
            bridge.Name("_UID", 0).Name("_BBN", 0);
            bridge.Name("_CRS", resources => resources.Buffer(Windows(hardware)));
            bridge.Name("_PRT", routes => routes.Package(Routes()));
        });
        if (!isExpress) return;

        // The configuration window must be somebody's, or the kernel does not trust it.
        bus.Device("MCFG", board => board
            .Name("_HID", id => id.EisaId("PNP0C02"))
            .Name("_CRS", resources => resources.Buffer(new ResourceTemplate()
                .OwnMemory((uint)hardware.PciConfiguration, (uint)AcpiTables.PciConfigurationSize).ToArray())));
    }

    static byte[] Windows(PcHardware hardware) => new ResourceTemplate()
        .BusNumbers(0, 255)
        .OwnPorts(PciAddressPort, 8)
        .Ports(0, PciAddressPort - 1)
        .Ports(PciAddressPort + 8, ushort.MaxValue)
        .Memory(hardware.MmioWindow, hardware.MmioWindowLength)
        .ToArray();

    static Action<AmlWriter>[] Routes() =>
    [
        .. from slot in Enumerable.Range(0, Slots)
           from pin in Enumerable.Range(0, Pins)
           let interrupt = FirstPciInterrupt + (uint)(slot + pin) % PciInterrupts
           select (Action<AmlWriter>)(route => route.Package(
               address => address.Integer((uint)slot << 16 | 0xFFFF),
               number => number.Integer((uint)pin),
               source => source.Integer(0),
               target => target.Integer(interrupt))),
    ];
}
