/** A file with the name it gets in the bucket: the folders it was dropped in stay part of it. */
export interface NamedFile {
  name: string;
  file: File;
}

/** Files chosen in a dialog. */
export function chosenFiles(files: FileList | null): NamedFile[] {
  return Array.from(files ?? [], (file) => ({ name: file.name, file }));
}

/**
 * The files of a drop, those in dropped folders included.
 *
 * Must be called while the drop event is being handled: its items are gone afterwards.
 */
export async function droppedFiles(transfer: DataTransfer): Promise<NamedFile[]> {
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry());
  const plain = chosenFiles(transfer.files);
  if (!entries.some((entry) => entry?.isDirectory)) return plain;
  const found = await Promise.all(entries.map((entry) => (entry === null ? [] : filesIn(entry))));
  return found.flat();
}

async function filesIn(entry: FileSystemEntry): Promise<NamedFile[]> {
  // Files such as .DS_Store are the computer's own, not stories.
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    return [{ name: entry.fullPath.replace(/^\/+/, ""), file }];
  }
  const inside: NamedFile[] = [];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // A reader hands out a folder in parts and says with an empty one that it is done.
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (part.length === 0) return inside;
    for (const child of part) inside.push(...(await filesIn(child)));
  }
}
