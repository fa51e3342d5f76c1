namespace VmLab.Guests;

/// <summary>Where in guest memory the loaders put what they hand to a guest: the one file with such addresses, all
/// below 1 MiB.</summary>
static class BootLayout
{
    /// <summary>The descriptor table of <see cref="EntryTables"/>.</summary>
    public const ulong Gdt = 0x6000;

    /// <summary>Linux' boot_params, one page ("zero page").</summary>
    public const ulong BootParameters = 0x7000;

    /// <summary>One entry of Linux' setup_data list: the boot seed.</summary>
    public const ulong SetupData = 0x8000;

    /// <summary>Six pages of page tables: one PML4, one page-directory-pointer table, four page directories.</summary>
    public const ulong PageTables = 0x9000;

    /// <summary>The kernel's command line, up to its terminating zero.</summary>
    public const ulong CommandLine = 0x1_0000;

    /// <summary>Most bytes of a command line for which there is room, its terminating zero not counted.</summary>
    public const uint LongestCommandLine = 0xFFFF;

    /// <summary>First byte past the stack that a guest starts on.</summary>
    public const ulong StackTop = 0x9_0000;

    /// <summary>End of the RAM that is free below the legacy hole.</summary>
    public const ulong LowEnd = 0xA_0000;

    /// <summary>ACPI tables, within the range that is searched for their root.</summary>
    public const ulong AcpiTables = 0xE_0000;

    /// <summary>End of the legacy hole, where free RAM goes on.</summary>
    public const ulong HighStart = 0x10_0000;
}
