namespace VmLab.X86.Floating;

/// <summary>Two bits of the full tag word.</summary>
/// <remarks>Source: Intel SDM vol. 1 §8.1.7, figure 8-7.</remarks>
enum X87Tag : byte { Valid = 0, Zero = 1, Special = 2, Empty = 3 }
