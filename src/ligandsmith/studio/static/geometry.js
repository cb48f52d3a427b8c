// Positions of atoms in PDB and SDF texts, and the residues beside a ligand.
"use strict";

const kept = new Map();  // atoms of the last protein, by its text

function atomsOfPdb(text) {
  if (!kept.has(text)) {
    kept.clear();
    kept.set(text, text.split("\n").filter((line) => /^(ATOM|HETATM)/.test(line)).map((line) => ({
      residue: `${line.slice(21, 22)}:${line.slice(17, 20).trim()}${line.slice(22, 26).trim()}`,
      at: [line.slice(30, 38), line.slice(38, 46), line.slice(46, 54)].map(Number),
    })));
  }
  return kept.get(text);
}

// Positions of the heavy atoms of the first molecule of an SDF (V2000).
export function heavyAtoms(text) {
  const lines = text.split("\n");
  const count = Number((lines[3] || "").slice(0, 3)) || 0;
  return lines.slice(4, 4 + count).filter((line) => line.slice(31, 34).trim() !== "H").map((line) => [line.slice(0, 10), line.slice(10, 20), line.slice(20, 30)].map(Number));
}

// The residues of a protein with an atom within a distance (Å) of a point.
export function residuesNear(pdb, points, distance) {
  const limit = distance ** 2;
  const close = (a, b) => (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2 < limit;
  return new Set(atomsOfPdb(pdb).filter(({ at }) => points.some((point) => close(at, point))).map(({ residue }) => residue));
}
