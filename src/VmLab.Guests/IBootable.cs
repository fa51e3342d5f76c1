using VmLab.Core;

namespace VmLab.Guests;

/// <summary>What a machine boots: bytes at addresses plus entry registers. It runs nothing.</summary>
public interface IBootable
{
    /// <summary>Writes the guest into RAM, and says where the processor starts.</summary>
    /// <exception cref="LabException">The guest is damaged, or does not fit: what, where, and what to do.</exception>
    BootEntry Load(GuestMemory memory, BootContext context);

    /// <summary>Hash of all that it loads, by which a saved moment knows its guests again; none where it cannot tell.</summary>
    ulong? ContentHash => null;
}

/// <summary>What a guest is told of the machine that it boots on.</summary>
/// <param name="MachineName">Name of the machine; a Debian guest takes it as its host name.</param>
/// <param name="Hardware">Where the machine's hardware lies, for the ACPI tables.</param>
/// <param name="Random">The machine's stream for what a boot loader draws: KASLR, the kernel's boot seed.</param>
public sealed record BootContext(string MachineName, PcHardware Hardware, Rng Random);

/// <summary>The addresses and interrupt numbers that ACPI tables tell.</summary>
/// <param name="Cpus">Number of processors; their APIC numbers go from 0.</param>
/// <param name="LocalApic">Physical address, in bytes, of every processor's local APIC.</param>
/// <param name="IoApic">Physical address of the I/O APIC, whose interrupts start at global interrupt 0.</param>
/// <param name="Hpet">Physical address of the HPET.</param>
/// <param name="PmEventPort">First of four ports: PM1 status (2 bytes), PM1 enable (2 bytes).</param>
/// <param name="PmControlPort">First of two ports: PM1 control.</param>
/// <param name="PmTimerPort">First of four ports: the 3.579545 MHz timer.</param>
/// <param name="ResetPort">Port of the reset register.</param>
/// <param name="ResetValue">What resets when written there.</param>
/// <param name="SciInterrupt">Global interrupt of the ACPI event line.</param>
/// <param name="PciConfiguration">Physical address of the PCI Express configuration window, 0 when there is
/// none.</param>
/// <param name="MmioWindow">First address of the PCI memory window.</param>
/// <param name="MmioWindowLength">Length, in bytes, of the PCI memory window.</param>
public sealed record PcHardware(
    int Cpus, ulong LocalApic, ulong IoApic, ulong Hpet,
    ushort PmEventPort, ushort PmControlPort, ushort PmTimerPort,
    ushort ResetPort, byte ResetValue, byte SciInterrupt,
    ulong PciConfiguration, ulong MmioWindow, ulong MmioWindowLength);

/// <summary>The state of the processor at a guest's first instruction.</summary>
public enum BootMode
{
    /// <summary>32-bit protected mode, paging off, flat segments: multiboot, PVH.</summary>
    Protected32,

    /// <summary>64-bit mode, paging by <see cref="BootEntry.Cr3"/>, flat segments: the 64-bit Linux boot
    /// protocol.</summary>
    Long64,
}

/// <summary>Where the processor starts. Registers not named are zero; interrupts are off.</summary>
/// <param name="GdtBase">Physical (and linear) address of a descriptor table that the guest's bytes contain.</param>
/// <param name="GdtLimit">Its length in bytes, less one.</param>
/// <param name="CodeSelector">Selects a code segment of that table that fits the mode; CS is loaded from it.</param>
/// <param name="DataSelector">Selects a flat data segment of that table; SS, DS, ES, FS and GS are loaded from
/// it.</param>
public readonly record struct BootEntry(
    BootMode Mode, ulong Rip, ulong Rsp, ulong Rsi, ulong Rbx, ulong Cr3,
    ulong GdtBase, ushort GdtLimit, ushort CodeSelector, ushort DataSelector);
